//! Hookdeck Event Gateway, beside a loop of reqwest, to the receiver of webhooks.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::Scenario;
use crate::webhook::Webhook;

pub(crate) struct Hookdeck(Webhook);

impl Scenario for Hookdeck {
    const NAME: &'static str = "hookdeck";
    type Bare = <Webhook as Scenario>::Bare;

    async fn start() -> Self {
        Self(Webhook::start().await)
    }

    fn sink(&self) -> Value {
        json!({"type": "hookdeck", "source": "bench", "api_key": "bench", "endpoint": self.0.url()})
    }

    async fn bare(&self) -> Self::Bare {
        self.0.bare().await
    }

    async fn send(bare: &mut Self::Bare, id: &str, body: &Bytes) {
        Webhook::send(bare, id, body).await;
    }
}
