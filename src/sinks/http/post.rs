//! One POST: the request goes out over a client of the guard, the answer comes back as a report.
//!
//! Invariant: the status line decides. What follows it is kept for people and changes no outcome.
//! Invariant: nothing of the receiver's answer is followed, trusted or read without a bound.
//! Invariant: every await on the outside ends at a time limit of the destination or of the settings.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{HeaderMap, RETRY_AFTER, SET_COOKIE};
use reqwest::{Method, Request, Response, StatusCode, Url};
use tokio::time::{Instant, timeout_at};

use super::{Failure, Limits, exchange, outcome, retry_after};
use crate::config::settings::Settings;
use crate::domain::attempt::Report;
use crate::domain::outcome::Outcome;
use crate::egress::{self, Guard};
use crate::sinks::ClientsError;

/// Names and values of an answer's head that are kept, in bytes: attempt records have little room.
const HEAD_KEPT: usize = 8 * 1024;

/// What one HTTP/2 stream may send ahead of being read: no more than is read of an answer by default.
const STREAM_WINDOW: u32 = 64 * 1024;

/// What all streams of one HTTP/2 connection may send ahead of being read.
const CONNECTION_WINDOW: u32 = 1024 * 1024;

/// How long an HTTP/2 connection with requests in flight may be silent until it is asked, and then closed: without
/// this a dead one would swallow request after request.
const HTTP2_SILENCE: Duration = Duration::from_secs(10);

/// The client that all destinations of one sink share, with its connections.
#[derive(Debug)]
pub struct Client {
    http: reqwest::Client,
    guard: Arc<Guard>,
}

impl Client {
    pub(in crate::sinks) fn new(
        settings: &Settings,
        guard: Arc<Guard>,
    ) -> Result<Self, ClientsError> {
        Self::build(settings, guard, |builder| builder)
    }

    pub(in crate::sinks) fn build(
        settings: &Settings,
        guard: Arc<Guard>,
        adapt: impl FnOnce(reqwest::ClientBuilder) -> reqwest::ClientBuilder,
    ) -> Result<Self, ClientsError> {
        let webhook = &settings.webhook;
        let builder = egress::client(&guard)
            .connect_timeout(webhook.connect_timeout.0)
            .pool_idle_timeout(webhook.pool_idle_timeout.0)
            .pool_max_idle_per_host(webhook.pool_idle_per_host)
            .http2_initial_stream_window_size(STREAM_WINDOW)
            .http2_initial_connection_window_size(CONNECTION_WINDOW)
            .http2_keep_alive_interval(HTTP2_SILENCE)
            .http2_keep_alive_timeout(webhook.connect_timeout.0);
        let http = adapt(builder).build().map_err(ClientsError::Http)?;
        Ok(Self { http, guard })
    }
}

/// Where requests go, and what bounds them.
#[derive(Clone)]
pub(in crate::sinks) struct Target {
    pub(in crate::sinks) url: Url,
    port: u16,
    limits: Limits,
    total: Duration,
    response_read: usize,
    response_kept: usize,
}

impl std::fmt::Debug for Target {
    /// Leaves out the URL's path and query, which may be secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Target")
            .field("scheme", &self.url.scheme())
            .field("host", &self.url.host_str())
            .field("port", &self.port)
            .field("limits", &self.limits)
            .field("total", &self.total)
            .finish_non_exhaustive()
    }
}

impl Target {
    /// A target whose attempts take `timeout` at most; `None` for a URL without a port.
    pub(in crate::sinks) fn new(url: Url, settings: &Settings, timeout: Duration) -> Option<Self> {
        let webhook = &settings.webhook;
        Some(Self {
            port: url.port_or_known_default()?,
            url,
            limits: Limits {
                connect: webhook.connect_timeout.0,
                first_byte: webhook.first_byte_timeout.0.min(timeout),
            },
            total: timeout,
            response_read: webhook.response_read.0,
            response_kept: webhook.response_kept.0,
        })
    }

    /// Makes one attempt, which began at `started` (`now_ms` by the clock on the wall). `headers` go with `body`.
    pub(in crate::sinks) async fn post(
        &self,
        client: &Client,
        headers: impl Fn() -> Result<HeaderMap, Failure>,
        body: Bytes,
        (started, now_ms): (Instant, i64),
    ) -> Report {
        let request = || {
            let mut request = Request::new(Method::POST, self.url.clone());
            *request.headers_mut() = headers()?;
            *request.body_mut() = Some(body.clone().into());
            Ok(request)
        };
        let sent = match client.guard.check(&self.url) {
            Ok(()) => exchange(&client.http, self.port, self.limits, started, request).await,
            Err(refusal) => Err(Failure::Egress(refusal)),
        };
        match sent {
            Ok(response) => self.answer(response, started, now_ms).await,
            Err(failure) => {
                if let Failure::Egress(refusal) = &failure {
                    client.guard.count(*refusal);
                }
                Report::without_answer(failure.outcome(), failure.to_string(), started.elapsed())
            }
        }
    }

    /// Reports on an answer whose head has come.
    async fn answer(&self, mut response: Response, started: Instant, now_ms: i64) -> Report {
        let first_byte = started.elapsed();
        let status = response.status();
        let retry_after = (!status.is_success())
            .then(|| response.headers().get(RETRY_AFTER))
            .flatten()
            .and_then(|value| {
                let elapsed_ms = i64::try_from(first_byte.as_millis()).unwrap_or(i64::MAX);
                retry_after::read(value.as_bytes(), now_ms.saturating_add(elapsed_ms))
            });
        let outcome = outcome::of_answer(status.as_u16(), retry_after);
        let response_headers = kept_head(response.headers(), HEAD_KEPT.min(self.response_kept));
        let mut kept = Vec::new();
        let body = self.read_body(&mut response, &mut kept);
        // The status has decided: a body that does not end in time is kept as far as it came.
        let _ended = timeout_at(started + self.total, body).await.is_ok();
        Report {
            outcome,
            status: Some(status.as_u16()),
            retry_after,
            error: (outcome != Outcome::Delivered).then(|| words(status, outcome)),
            dead_letter: None,
            response_headers,
            response_body: kept.into(),
            first_byte: Some(first_byte),
            total: started.elapsed(),
        }
    }

    /// Reads the body until it ends, breaks, or has been long enough; the connection of one that is cut is closed when
    /// the response is dropped.
    async fn read_body(&self, response: &mut Response, kept: &mut Vec<u8>) {
        let mut read = 0;
        while read < self.response_read {
            let Ok(Some(chunk)) = response.chunk().await else {
                return;
            };
            read += chunk.len();
            let room = self.response_kept.saturating_sub(kept.len());
            kept.extend_from_slice(chunk.get(..room).unwrap_or(&chunk));
        }
    }
}

fn words(status: StatusCode, outcome: Outcome) -> String {
    let name = status
        .canonical_reason()
        .map_or(String::new(), |name| format!(" {name}"));
    let note = match outcome {
        Outcome::Redirect => ": redirects are not followed",
        _ => "",
    };
    format!("HTTP {}{name}{note}", status.as_u16())
}

/// The answer's headers, as many as fit into `room` bytes. Cookies are credentials and are not kept.
fn kept_head(headers: &HeaderMap, mut room: usize) -> Vec<(String, String)> {
    let mut kept = Vec::new();
    for (name, value) in headers {
        let value = if name == SET_COOKIE {
            "[redacted]".into()
        } else {
            String::from_utf8_lossy(value.as_bytes())
        };
        match room.checked_sub(name.as_str().len() + value.len()) {
            Some(rest) => room = rest,
            None => continue,
        }
        kept.push((name.as_str().to_owned(), value.into_owned()));
    }
    kept
}
