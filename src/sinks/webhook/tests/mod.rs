//! Webhooks against receivers on real sockets.

mod answers;
mod config;
mod network;
mod receiver;
mod request;
mod tls;

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::Client;
use crate::config::settings::Settings;
use crate::domain::attempt::Report;
use crate::domain::event::Event;
use crate::domain::ids::DestinationId;
use crate::domain::units::Span;
use crate::egress::Guard;
use crate::sinks::tests::{NOW_MS, event, guard, settings};
use crate::sinks::webhook::Webhook;
use crate::sinks::{Clients, Outgoing, Sink};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

fn error(report: &Report) -> &str {
    report.error.as_deref().unwrap_or_default()
}

fn outgoing<'a>(event: &'a Event, destination: &'a DestinationId) -> Outgoing<'a> {
    Outgoing {
        event,
        destination,
        attempt: 1,
        replay: None,
        now_ms: NOW_MS,
    }
}

/// What one destination sends with.
struct Sender {
    sink: Sink,
    clients: Clients,
}

impl Sender {
    /// A sender with short time limits to `url`.
    fn to(url: &str) -> Self {
        Self::new(json!({"url": url}), &settings())
    }

    fn new(sink: Value, settings: &Settings) -> Self {
        Self::with_guard(sink, settings, guard(settings))
    }

    fn with_guard(sink: Value, settings: &Settings, guard: Guard) -> Self {
        let sink = parse(sink, settings);
        let clients = Clients::new(settings, &Arc::new(guard)).expect("clients");
        Self { sink, clients }
    }

    /// A sender whose client trusts the authority `pem` alone.
    fn trusting(pem: &str, url: &str, settings: &Settings) -> Self {
        let guard = Arc::new(guard(settings));
        let sink = parse(json!({"url": url}), settings);
        let certificate = reqwest::Certificate::from_pem(pem.as_bytes()).expect("PEM");
        let webhook = Client::build(settings, Arc::clone(&guard), |builder| {
            builder.tls_certs_only([certificate])
        });
        let mut clients = Clients::new(settings, &guard).expect("clients");
        clients.webhook = webhook.expect("client");
        Self { sink, clients }
    }

    async fn send(&self) -> Report {
        self.send_event(&event(Some(br#"{"n":1}"#))).await
    }

    async fn send_event(&self, event: &Event) -> Report {
        let destination = DestinationId::parse("acme/hooks").expect("id");
        self.sink
            .send(&self.clients, outgoing(event, &destination))
            .await
    }
}

fn parse(mut sink: Value, settings: &Settings) -> Sink {
    sink["type"] = json!("webhook");
    Sink::parse(&sink, settings).expect("valid")
}

fn webhook(mut sink: Value) -> Webhook {
    sink["type"] = json!("webhook");
    Webhook::parse(&sink, &settings()).expect("valid")
}

fn short(first_byte: u64) -> Settings {
    let mut settings = settings();
    settings.webhook.first_byte_timeout = Span(Duration::from_millis(first_byte));
    settings.webhook.connect_timeout = Span(Duration::from_millis(first_byte));
    settings
}
