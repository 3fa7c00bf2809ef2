//! A sample receiver: one path that is well, one that fails at first, one that always fails.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use tokio::net::TcpListener;

/// How often the path `/flaky` refuses each event before it takes it.
const FLAKY_REFUSALS: u32 = 2;

/// Event ids are forgotten when there are so many.
const REMEMBERED: usize = 10_000;

type Seen = Arc<Mutex<HashMap<String, u32>>>;

/// Serves on a free port; returns its address.
pub(crate) async fn start() -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let app = Router::new()
        .route("/healthy", post(|| async { StatusCode::OK }))
        .route("/flaky", post(flaky))
        .route(
            "/failing",
            post(|| async {
                (
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "this receiver always fails\n",
                )
            }),
        )
        .with_state(Seen::default());
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, app).await {
            tracing::error!(error = %error, "the sample receiver ended");
        }
    });
    Ok(address)
}

async fn flaky(State(seen): State<Seen>, headers: HeaderMap) -> StatusCode {
    let id = headers
        .get("webhook-id")
        .and_then(|id| id.to_str().ok())
        .unwrap_or_default();
    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    if seen.len() >= REMEMBERED {
        seen.clear();
    }
    let count = seen.entry(id.to_owned()).or_default();
    *count += 1;
    if *count <= FLAKY_REFUSALS {
        StatusCode::SERVICE_UNAVAILABLE
    } else {
        StatusCode::OK
    }
}
