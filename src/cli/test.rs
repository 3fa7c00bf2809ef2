//! `posthaste destinations test`: one marked sample event through the code and the guard that every event passes, and
//! what came of it. Nothing of it is written to Kafka.
//!
//! Comes in: the document of a destination. Goes out: one event of type `posthaste.test`, and a report with advice.

use std::io::Write;
use std::sync::Arc;

use anyhow::Context as _;
use bytes::Bytes;
use serde_json::{Value, json};

use super::advice::advice;
use super::{Output, exit};
use crate::catalog::Documents;
use crate::clock::Clock;
use crate::config::faults::Fault;
use crate::config::settings::Settings;
use crate::domain::attempt::Report;
use crate::domain::event::{Event, Origin};
use crate::domain::ids::{DestinationId, TenantId};
use crate::domain::outcome::Outcome;
use crate::egress::Guard;
use crate::sinks::{Clients, Outgoing, TEST_TYPE};
use crate::telemetry::error_chain;

/// How much of the answer is shown.
const SHOWN: usize = 1024;

/// What came of a test.
#[derive(Debug)]
pub(super) struct Tested {
    id: DestinationId,
    sink: &'static str,
    event_id: Box<str>,
    report: Report,
}

/// Sends a sample event to the destination of a document.
///
/// # Errors
/// All mistakes in the document; or, outside, if no client can be made.
pub(super) async fn test(
    settings: &Settings,
    document: &[u8],
) -> anyhow::Result<Result<Tested, Vec<Fault>>> {
    let documents = Documents::new(Arc::new(settings.clone()));
    let prepared = match documents.read_unkeyed(document) {
        Ok(prepared) => prepared,
        Err(faults) => return Ok(Err(faults)),
    };
    let guard = match Guard::new(&settings.egress, settings.webhook.dns_timeout.0) {
        Ok(guard) => Arc::new(guard),
        Err(faults) => return Ok(Err(faults)),
    };
    let clients =
        Clients::new(settings, &guard).map_err(|error| anyhow::anyhow!(error_chain(&error)))?;
    let id = prepared.destination.id;
    let now_ms = Clock::system().now_ms();
    let event = sample(&id, now_ms, rand::random())?;
    let outgoing = Outgoing {
        event: &event,
        destination: &id,
        attempt: 1,
        replay: None,
        now_ms,
    };
    let report = prepared.sink.send(&clients, outgoing).await;
    Ok(Ok(Tested {
        sink: prepared.sink.kind(),
        event_id: event.id,
        id,
        report,
    }))
}

/// The event that is sent: JSON that says what it is.
fn sample(id: &DestinationId, now_ms: i64, random: u32) -> anyhow::Result<Event> {
    let body = json!({
        "test": true,
        "message": "a sample event, sent by hand to see whether this destination works",
        "destination": id.as_str(),
        "time_ms": now_ms
    });
    Ok(Event {
        id: format!("posthaste-test-{now_ms:x}-{random:08x}").into(),
        event_type: TEST_TYPE.into(),
        tenant: TenantId::new(id.tenant()).context("the destination's tenant")?,
        time_ms: now_ms,
        hops: 0,
        origin: Origin {
            topic: TEST_TYPE.into(),
            partition: 0,
            offset: 0,
        },
        key: Some(Bytes::from_static(TEST_TYPE.as_bytes())),
        body: Some(body.to_string().into()),
        headers: Vec::new(),
        content_type: "application/json".into(),
    })
}

impl Tested {
    /// Writes what came of it; returns the exit code.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(super) fn tell(&self, output: Output, out: &mut dyn Write) -> anyhow::Result<u8> {
        match output {
            Output::Json => writeln!(out, "{}", self.json())?,
            Output::Text => out.write_all(self.text().as_bytes())?,
        }
        Ok(if self.report.outcome == Outcome::Delivered {
            exit::FINE
        } else {
            exit::NO
        })
    }

    fn advice(&self) -> &'static str {
        advice(self.report.outcome, self.sink)
    }

    /// The begin of what the receiver said, without control characters.
    fn answer(&self) -> String {
        let begin = self.report.response_body.get(..SHOWN);
        let begin = begin.unwrap_or(&self.report.response_body);
        String::from_utf8_lossy(begin)
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect()
    }

    fn json(&self) -> Value {
        let report = &self.report;
        json!({
            "id": self.id.as_str(),
            "sink": self.sink,
            "event_id": &*self.event_id,
            "outcome": report.outcome.as_str(),
            "status": report.status,
            "latency_ms": report.total.as_secs_f64() * 1000.0,
            "error": report.error,
            "answer": self.answer(),
            "advice": self.advice(),
        })
    }

    fn text(&self) -> String {
        let report = &self.report;
        let status = report.status.map(|status| status.to_string());
        let latency = format!("{:.1} ms", report.total.as_secs_f64() * 1000.0);
        let lines = [
            ("event", Some(self.event_id.to_string())),
            ("status", status),
            ("latency", Some(latency)),
            ("error", report.error.clone()),
            (
                "answer",
                Some(self.answer()).filter(|answer| !answer.is_empty()),
            ),
            ("advice", Some(self.advice().to_owned())),
        ];
        let mut text = format!("{} ({}): {}\n", self.id, self.sink, report.outcome.as_str());
        for (name, value) in lines {
            if let Some(value) = value {
                text.push_str(&format!("  {name:8} {value}\n"));
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn tested(report: Report) -> Tested {
        Tested {
            id: DestinationId::parse("acme/orders").expect("an id"),
            sink: "hookdeck",
            event_id: "posthaste-test-1".into(),
            report,
        }
    }

    fn told(tested: &Tested, output: Output) -> (u8, String) {
        let mut out = Vec::new();
        let code = tested.tell(output, &mut out).expect("written");
        (code, String::from_utf8(out).expect("UTF-8"))
    }

    #[test]
    fn an_event_that_was_delivered_is_told_with_exit_code_0() {
        let total = Duration::from_micros(12_340);
        let report = Report {
            status: Some(200),
            error: None,
            ..Report::without_answer(Outcome::Delivered, "", total)
        };
        let tested = tested(report);
        let (code, text) = told(&tested, Output::Text);
        assert_eq!(code, 0);
        assert_eq!(
            text,
            "acme/orders (hookdeck): delivered\n  event    posthaste-test-1\n  status   200\n  latency  12.3 ms\n  \
             advice   nothing to do: the destination took the event\n"
        );
    }

    #[test]
    fn one_that_was_not_is_told_with_its_error_and_exit_code_1() {
        let report = Report {
            status: Some(401),
            response_body: Bytes::from_static(b"who\x1b[2J are you"),
            ..Report::without_answer(Outcome::Auth, "HTTP 401", Duration::from_millis(5))
        };
        let tested = tested(report);
        let (code, text) = told(&tested, Output::Text);
        assert_eq!(code, 1);
        for part in [
            "acme/orders (hookdeck): auth",
            "HTTP 401",
            "who [2J are you",
            "`api_key`",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        let (code, text) = told(&tested, Output::Json);
        let shown: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(
            (code, &shown["outcome"], &shown["status"]),
            (1, &json!("auth"), &json!(401))
        );
        assert_eq!(shown["advice"], advice(Outcome::Auth, "hookdeck"));
    }

    #[test]
    fn the_sample_event_says_what_it_is() {
        let id = DestinationId::parse("acme/orders").expect("an id");
        let event = sample(&id, 255, 7).expect("an event");
        assert_eq!(&*event.id, "posthaste-test-ff-00000007");
        assert_eq!(&*event.event_type, "posthaste.test");
        assert_eq!(event.tenant.as_str(), "acme");
        let body: Value = serde_json::from_slice(&event.body.expect("a body")).expect("JSON");
        assert_eq!(body["destination"], "acme/orders");
    }
}
