//! The object `sink` of a Kafka destination: from JSON to what its attempts need.
//!
//! Invariant: all mistakes are found in one reading, and none repeats a secret.

use serde_json::Value;
use url::Host;

use super::Kafka;
use super::client::Properties;
use crate::config::faults::Fault;
use crate::config::settings::Settings;
use crate::domain::units::ByteSize;
use crate::egress::Guard;
use crate::sinks::cloudevents;
use crate::sinks::fields::{Fields, read_sink};

/// Brokers to begin with, at most; the others are learnt from them.
pub(super) const BROKERS_MAX: usize = 16;

/// What a record may have where the document says nothing: what a broker takes by default, less what a batch adds.
/// <https://kafka.apache.org/documentation/#brokerconfigs_message.max.bytes>
const RECORD_MAX: ByteSize = ByteSize(1_000_000);

/// The bounds of `record_max`, those of librdkafka.
const RECORD_MAX_BOUNDS: std::ops::RangeInclusive<usize> = 1000..=1_000_000_000;

/// User names and passwords at most, in bytes.
const CREDENTIAL_MAX: usize = 4096;

/// The mechanisms, as the document and as librdkafka names them.
pub(super) const MECHANISMS: [&str; 3] = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"];

impl Kafka {
    /// Reads the object `sink`.
    ///
    /// # Errors
    /// All mistakes in it, with pointers below `/sink`.
    pub(in crate::sinks) fn parse(sink: &Value, settings: &Settings) -> Result<Self, Vec<Fault>> {
        read_sink(sink, |fields, _| read(fields, settings))
    }

    /// Judges the brokers by the operator's list.
    pub(in crate::sinks) fn check_egress(&self, guard: &Guard) -> Result<(), Fault> {
        for (host, port) in &self.brokers {
            guard
                .check_listed(host, *port)
                .map_err(|refusal| Fault::new("/sink/brokers", refusal.to_string()))?;
        }
        Ok(())
    }
}

fn read(mut fields: Fields<'_>, settings: &Settings) -> Option<Kafka> {
    fields.required_text("type");
    let brokers = brokers(&mut fields);
    let topic = topic(&mut fields);
    let mut properties = Vec::new();
    let tls = tls(&mut fields, &mut properties);
    let sasl = sasl(&mut fields, tls, &mut properties);
    let timeout = fields.timeout(settings);
    let record_max = record_max(&mut fields);
    let cloudevents = cloudevents::mode(&mut fields);
    let (brokers, topic) = (brokers?, topic?);
    let ours = settings.source_of(&topic).is_some() || topic.starts_with(&settings.topics.prefix);
    if ours && shares_broker(&brokers, &settings.kafka.brokers) {
        let message = "is a source of events, or one of the service's own topics: events would go round in a circle";
        fields.fault("topic", message);
    }
    fields.close();
    let security = match (tls, sasl) {
        (false, false) => "PLAINTEXT",
        (true, false) => "SSL",
        (false, true) => "SASL_PLAINTEXT",
        (true, true) => "SASL_SSL",
    };
    let list: Vec<String> = brokers
        .iter()
        .map(|(host, port)| format!("{host}:{port}"))
        .collect();
    let millis = timeout.as_millis().to_string();
    let bytes = record_max.0.to_string();
    for (name, value) in [
        ("bootstrap.servers", list.join(",")),
        ("security.protocol", security.to_owned()),
        ("message.timeout.ms", millis),
        ("message.max.bytes", bytes.clone()),
        // A batch that is larger than one record may be is refused whole.
        ("batch.size", bytes),
    ] {
        properties.push((name, value));
    }
    properties.extend(FIXED.map(|(name, value)| (name, value.to_owned())));
    Some(Kafka {
        brokers,
        topic,
        ours,
        properties: Properties::from(properties),
        cloudevents,
        timeout,
        record_max,
    })
}

/// What every producer has.
const FIXED: [(&str, &str); 14] = [
    ("client.id", "posthaste"),
    ("acks", "all"),
    ("enable.idempotence", "true"),
    ("max.in.flight.requests.per.connection", "1"),
    ("allow.auto.create.topics", "false"),
    // A key goes to the partition that the Java client would choose.
    ("partitioner", "murmur2_random"),
    ("linger.ms", "1"),
    // Bounded by our own slots before.
    ("queue.buffering.max.kbytes", "262144"),
    // A topic that is not there is a failure, not something to wait for.
    ("topic.metadata.propagation.max.ms", "1000"),
    ("topic.metadata.refresh.interval.ms", "60000"),
    ("socket.connection.setup.timeout.ms", "5000"),
    ("socket.keepalive.enable", "true"),
    ("reconnect.backoff.max.ms", "2000"),
    ("connections.max.idle.ms", "300000"),
];

fn brokers(fields: &mut Fields<'_>) -> Option<Vec<(String, u16)>> {
    let text = fields.required_text("brokers")?;
    let brokers: Option<Vec<(String, u16)>> = text.split(',').map(|one| broker(one.trim())).collect();
    match brokers {
        Some(brokers) if brokers.len() <= BROKERS_MAX => Some(brokers),
        Some(brokers) => {
            let message = format!("takes {BROKERS_MAX} brokers at most, not {}", brokers.len());
            fields.fault("brokers", message);
            None
        }
        None => {
            fields.fault(
                "brokers",
                "is no list of brokers; write `host:port`, several with commas, like `kafka.example.com:9093`",
            );
            None
        }
    }
}

/// Host, in the form in which it is compared, and port.
fn broker(text: &str) -> Option<(String, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let port: u16 = port.parse().ok().filter(|port| *port > 0)?;
    let host = Host::parse(host).ok()?;
    if let Host::Domain(name) = &host
        && name.bytes().any(|byte| !(byte.is_ascii_alphanumeric() || b".-_".contains(&byte)))
    {
        return None;
    }
    Some((host.to_string(), port))
}

/// Whether one of the brokers is also one of ours. The cluster's id is compared at each attempt; this tells it to who
/// writes the document.
fn shares_broker(brokers: &[(String, u16)], own: &str) -> bool {
    own.split(',')
        .filter_map(|one| broker(one.trim()))
        .any(|own| brokers.contains(&own))
}

fn topic(fields: &mut Fields<'_>) -> Option<String> {
    let topic = fields.required_text("topic")?;
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if topic.is_empty()
        || topic.len() > 249
        || matches!(topic, "." | "..")
        || !topic.bytes().all(fits)
    {
        fields.fault("topic", "is not the name of a topic: 1 to 249 letters, digits, `.`, `_`, `-`");
        return None;
    }
    if topic.starts_with("__") {
        fields.fault("topic", "is one of Kafka's own topics");
        return None;
    }
    Some(topic.to_owned())
}

/// Reads `tls`; whether it is asked for.
fn tls(fields: &mut Fields<'_>, properties: &mut Vec<(&'static str, String)>) -> bool {
    let Some(mut tls) = fields.object("tls") else {
        return false;
    };
    let mut pem = |name, property, begin: &str| {
        let text = tls.text(name)?;
        if !text.contains(begin) {
            tls.fault(name, format!("is not PEM: `{begin}` is missing"));
        }
        properties.push((property, text.to_owned()));
        Some(())
    };
    let ca = pem("ca", "ssl.ca.pem", "-----BEGIN CERTIFICATE-----");
    let cert = pem("cert", "ssl.certificate.pem", "-----BEGIN CERTIFICATE-----");
    let key = pem("key", "ssl.key.pem", "-----BEGIN ");
    if cert.is_some() != key.is_some() {
        tls.fault_here("takes `cert` and `key` together");
    }
    tls.close();
    if ca.is_none() {
        // The system's authorities.
        properties.push(("ssl.ca.location", "probe".to_owned()));
    }
    true
}

/// Reads `auth`; whether it is SASL.
fn sasl(
    fields: &mut Fields<'_>,
    tls: bool,
    properties: &mut Vec<(&'static str, String)>,
) -> bool {
    let Some(mut auth) = fields.object("auth") else {
        return false;
    };
    let sasl = match auth.required_text("type") {
        None => return false,
        Some("none") => false,
        Some("sasl") => {
            let mechanism = auth.required_text("mechanism");
            let credentials = ["username", "password"].map(|name| (name, auth.required_text(name)));
            match mechanism {
                Some(mechanism) if !MECHANISMS.contains(&mechanism) => {
                    auth.fault("mechanism", "is none of `PLAIN`, `SCRAM-SHA-256`, `SCRAM-SHA-512`");
                }
                Some("PLAIN") if !tls => {
                    auth.fault("mechanism", "`PLAIN` would send the password in the clear; add `tls`");
                }
                _ => {}
            }
            for (name, text) in credentials {
                let text = text.unwrap_or_default();
                if text.len() > CREDENTIAL_MAX || text.contains('\0') {
                    auth.fault(name, format!("has more than {CREDENTIAL_MAX} bytes, or a zero byte"));
                }
                let property = if name == "username" { "sasl.username" } else { "sasl.password" };
                properties.push((property, text.to_owned()));
            }
            properties.push(("sasl.mechanisms", mechanism.unwrap_or_default().to_owned()));
            true
        }
        Some(_) => {
            auth.fault("type", "is none of `none`, `sasl`");
            return false;
        }
    };
    auth.close();
    sasl
}

fn record_max(fields: &mut Fields<'_>) -> ByteSize {
    let Some(text) = fields.text("record_max") else {
        return RECORD_MAX;
    };
    match text.parse::<ByteSize>() {
        Ok(size) if RECORD_MAX_BOUNDS.contains(&size.0) => return size,
        Ok(_) => fields.fault("record_max", "is not between 1000B and 1000000000B"),
        Err(invalid) => fields.fault("record_max", invalid.to_string()),
    }
    RECORD_MAX
}
