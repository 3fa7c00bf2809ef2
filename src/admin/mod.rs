//! The operator's endpoint: `/livez`, `/readyz` and `/metrics` over HTTP.
//!
//! Reads [`Metrics`] and [`Readiness`]; changes nothing. Probes and scrapers need no key.
//!
//! Invariant: a client that is slow loses its connection, and connections are bounded.

mod connection;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::telemetry::metrics::Metrics;
use crate::telemetry::readiness::{Missing, Readiness};
use connection::{Limited, Limits};

/// The largest request body that is read.
const BODY_MAX_BYTES: usize = 1024 * 1024;
/// How long answers that have begun may take once the process stops.
const DRAIN: Duration = Duration::from_secs(2);
/// Text as Prometheus reads it: <https://prometheus.io/docs/instrumenting/exposition_formats/>
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Why the endpoint does not serve.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address cannot be had.
    #[error(
        "admin endpoint cannot listen on {address}; set `admin.listen` to an address that is free"
    )]
    Listen {
        /// As the settings say.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// Serving ended by itself.
    #[error("admin endpoint stopped")]
    Serve(#[source] io::Error),
}

/// The endpoint, bound and not yet serving.
#[derive(Debug)]
pub struct Admin {
    listener: TcpListener,
    address: SocketAddr,
    router: Router,
}

impl Admin {
    /// Takes `listen`; port 0 takes a free one.
    ///
    /// # Errors
    /// If the address is in use or not this machine's.
    pub async fn bind(
        listen: SocketAddr,
        metrics: Metrics,
        readiness: Readiness,
    ) -> Result<Self, Error> {
        let at = |source| Error::Listen {
            address: listen,
            source,
        };
        let listener = TcpListener::bind(listen).await.map_err(at)?;
        Ok(Self {
            address: listener.local_addr().map_err(at)?,
            listener,
            router: router(metrics, readiness),
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown` turns true or its sender is gone; then answers what was asked, within 2 s.
    ///
    /// Stop it last, so that `/readyz` tells of the drain and `/metrics` of its end.
    ///
    /// # Errors
    /// If the listener breaks.
    pub async fn run(self, shutdown: watch::Receiver<bool>) -> Result<(), Error> {
        tracing::info!(admin.listen = %self.address, "admin endpoint serves /livez, /readyz and /metrics");
        let listener = Limited::new(self.listener, Limits::default());
        let serve =
            axum::serve(listener, self.router).with_graceful_shutdown(stopped(shutdown.clone()));
        tokio::select! {
            served = async { serve.await } => served.map_err(Error::Serve),
            () = async { stopped(shutdown).await; tokio::time::sleep(DRAIN).await } => Ok(()),
        }
    }
}

/// Waits until the process stops.
async fn stopped(mut shutdown: watch::Receiver<bool>) {
    if shutdown.wait_for(|stop| *stop).await.is_err() {
        tracing::debug!("whoever stops the admin endpoint is gone");
    }
}

#[derive(Debug, Clone)]
struct Views {
    metrics: Metrics,
    readiness: Readiness,
}

/// The routes, without a listener.
fn router(metrics: Metrics, readiness: Readiness) -> Router {
    Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(render_metrics))
        .fallback(not_found)
        .layer(DefaultBodyLimit::max(BODY_MAX_BYTES))
        .with_state(Views { metrics, readiness })
}

/// The process runs: its threads still answer.
async fn livez() -> &'static str {
    "ok\n"
}

#[derive(Debug, Serialize)]
struct Ready {
    ready: bool,
    missing: Vec<Missing>,
}

/// The instance does its work, or what it waits for.
async fn readyz(State(views): State<Views>) -> Response {
    let missing = views.readiness.missing();
    let status = if missing.is_empty() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let ready = Ready {
        ready: missing.is_empty(),
        missing,
    };
    let body = serde_json::to_string(&ready).expect("plain strings are always JSON");
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

async fn render_metrics(State(views): State<Views>) -> impl IntoResponse {
    (
        [(header::CONTENT_TYPE, METRICS_TYPE)],
        views.metrics.render(),
    )
}

async fn not_found() -> (StatusCode, &'static str) {
    (
        StatusCode::NOT_FOUND,
        "there are /livez, /readyz and /metrics\n",
    )
}

#[cfg(test)]
mod tests;
