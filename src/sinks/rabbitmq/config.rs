//! The object `sink` of a RabbitMQ destination: from JSON to what its attempts need.
//!
//! Invariant: all mistakes are found in one reading, and none repeats a secret or the URL.

use std::sync::Arc;

use serde_json::Value;
use url::{Host, Url};

use super::RabbitMq;
use super::connection::Endpoint;
use super::stream::Tls;
use super::template::Template;
use crate::config::faults::Fault;
use crate::config::settings::Settings;
use crate::domain::secret::Secret;
use crate::domain::units::ByteSize;
use crate::egress::Guard;
use crate::sinks::cloudevents;
use crate::sinks::fields::{Fields, read_sink};

/// What a message may have where the document says nothing: what RabbitMQ 4 takes by default.
/// <https://www.rabbitmq.com/docs/configure#config-items> (`max_message_size`)
const MESSAGE_MAX: ByteSize = ByteSize(16 << 20);

/// The most that any version takes.
const MESSAGE_MAX_BOUND: usize = 512 << 20;

/// The longest name of an exchange.
const NAME_MAX: usize = 255;

/// The routing key where the document says nothing.
pub(super) const ROUTING_KEY: &str = "{type}";

impl RabbitMq {
    /// Reads the object `sink`.
    ///
    /// # Errors
    /// All mistakes in it, with pointers below `/sink`.
    pub(in crate::sinks) fn parse(sink: &Value, settings: &Settings) -> Result<Self, Vec<Fault>> {
        read_sink(sink, |fields, _| read(fields, settings))
    }

    /// Judges the host by the operator's list.
    pub(in crate::sinks) fn check_egress(&self, guard: &Guard) -> Result<(), Fault> {
        guard
            .check_listed(&self.endpoint.host, self.endpoint.port)
            .map_err(|refusal| Fault::new("/sink/url", refusal.to_string()))
    }
}

fn read(mut fields: Fields<'_>, settings: &Settings) -> Option<RabbitMq> {
    fields.required_text("type");
    let endpoint = endpoint(&mut fields);
    let exchange = exchange(&mut fields);
    let template = fields.text("routing_key").unwrap_or(ROUTING_KEY);
    let routing_key = Template::parse(template)
        .map_err(|message| fields.fault("routing_key", message))
        .ok();
    let message_max = message_max(&mut fields);
    let timeout = fields.timeout(settings);
    let cloudevents = cloudevents::mode(&mut fields);
    fields.close();
    Some(RabbitMq {
        endpoint: Arc::new(endpoint?),
        exchange: exchange?,
        routing_key: routing_key?,
        cloudevents,
        timeout,
        message_max,
    })
}

fn endpoint(fields: &mut Fields<'_>) -> Option<Endpoint> {
    let text = fields.required_text("url");
    let encrypted = text.is_some_and(|text| text.starts_with("amqps:"));
    let endpoint = text.and_then(|text| {
        let read = read_url(text);
        read.map_err(|message| fields.fault("url", message)).ok()
    });
    let tls = tls(fields, encrypted);
    Some(Endpoint { tls, ..endpoint? })
}

/// Reads a URL; what is wrong is said without it.
fn read_url(text: &str) -> Result<Endpoint, &'static str> {
    let url = Url::parse(text).map_err(
        |_not_a_url| "is not a URL; write it like `amqps://user:password@mq.example.com/vhost`, with `%2F` for `/`, \
                      `%40` for `@` and so on within its parts",
    )?;
    let default_port = match url.scheme() {
        "amqps" => 5671,
        "amqp" => 5672,
        _ => return Err("is of another scheme than `amqps` or `amqp`"),
    };
    if url.query().is_some() || url.fragment().is_some() {
        return Err("holds a query or a fragment; nothing is set there");
    }
    let Some(host) = url.host_str().filter(|host| !host.is_empty()) else {
        return Err("names no host");
    };
    // In schemes like this one hosts are not read as names and addresses by themselves.
    let host = Host::parse(host).map_err(|_not_a_host| "names no valid host")?;
    let port = url.port().unwrap_or(default_port);
    let decoded = |text: &str| -> Result<String, &'static str> {
        let bytes: Vec<u8> = percent_decoded(text);
        String::from_utf8(bytes).map_err(|_not_text| "holds what is not UTF-8")
    };
    let (username, password) = (url.username(), url.password().unwrap_or_default());
    if port == 0 || username.is_empty() || password.is_empty() {
        return Err("names no user and password");
    }
    let vhost = match url.path() {
        "" | "/" => "/".to_owned(),
        path => decoded(path.strip_prefix('/').unwrap_or(path))?,
    };
    if vhost.len() > NAME_MAX {
        return Err("names a virtual host of more than 255 bytes");
    }
    Ok(Endpoint {
        host: host.to_string(),
        port,
        vhost,
        username: Secret::new(decoded(username)?),
        password: Secret::new(decoded(password)?),
        tls: None,
    })
}

/// Undoes percent-encoding.
fn percent_decoded(text: &str) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let mut ahead = bytes.clone();
        let digits = (byte == b'%').then(|| (ahead.next(), ahead.next()));
        let value = digits.and_then(|(high, low)| {
            let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
            u8::try_from(digit(high)? * 16 + digit(low)?).ok()
        });
        match value {
            Some(value) => {
                decoded.push(value);
                bytes = ahead;
            }
            None => decoded.push(byte),
        }
    }
    decoded
}

fn tls(fields: &mut Fields<'_>, encrypted: bool) -> Option<Tls> {
    let mut read = Tls::default();
    if let Some(mut tls) = fields.object("tls") {
        let ca = tls.text("ca");
        let (cert, key) = (tls.text("cert"), tls.text("key"));
        if cert.is_some() != key.is_some() {
            tls.fault_here("takes `cert` and `key` together");
        }
        if !encrypted && (ca.is_some() || cert.is_some()) {
            tls.fault_here("needs a `url` of the scheme `amqps`");
        }
        read = Tls {
            ca: ca.map(str::to_owned),
            own: cert.zip(key).map(|(cert, key)| (cert.to_owned(), key.to_owned())),
        };
        if let Err(message) = read.config() {
            tls.fault_here(message);
        }
        tls.close();
    }
    encrypted.then_some(read)
}

fn exchange(fields: &mut Fields<'_>) -> Option<String> {
    let exchange = fields.required_text("exchange")?;
    if exchange.len() > NAME_MAX || exchange.contains(char::is_control) {
        fields.fault("exchange", "holds control characters, or is longer than 255 bytes");
        return None;
    }
    Some(exchange.to_owned())
}

fn message_max(fields: &mut Fields<'_>) -> ByteSize {
    let Some(text) = fields.text("message_max") else {
        return MESSAGE_MAX;
    };
    match text.parse::<ByteSize>() {
        Ok(size) if (1000..=MESSAGE_MAX_BOUND).contains(&size.0) => return size,
        Ok(_) => fields.fault("message_max", "is not between 1000B and 512MiB"),
        Err(invalid) => fields.fault("message_max", invalid.to_string()),
    }
    MESSAGE_MAX
}
