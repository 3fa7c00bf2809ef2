//! One attempt.

use std::sync::Arc;
use std::time::Instant;

use lapin::options::BasicPublishOptions;
use lapin::types::ShortString;
use lapin::{BasicProperties, Confirmation};

use super::connection::{Client, Live};
use super::outcome::{self, Failure};
use super::{RabbitMq, message};
use crate::domain::attempt::Report;
use crate::domain::delivery::DeadLetterReason;
use crate::domain::outcome::Outcome;
use crate::sinks::Outgoing;
use crate::sinks::cloudevents;

/// What is published.
struct Message<'a> {
    routing_key: ShortString,
    properties: BasicProperties,
    body: &'a [u8],
}

impl RabbitMq {
    /// Makes one attempt.
    pub(in crate::sinks) async fn send(&self, client: &Client, outgoing: Outgoing<'_>) -> Report {
        let started = Instant::now();
        let rendered = match cloudevents::render(self.cloudevents, outgoing.event) {
            Ok(rendered) => rendered,
            Err(malformed) => return malformed.report(started.elapsed()),
        };
        let body = rendered.body.as_deref().unwrap_or_default();
        let made = message::properties(&outgoing, &rendered).and_then(|made| {
            let key = self.routing_key.fill(outgoing.event)?;
            let key = ShortString::try_new(key).map_err(|error| error.to_string())?;
            Ok((made, key))
        });
        let ((properties, head), routing_key) = match made {
            Ok(made) => made,
            Err(words) => return Report::without_answer(Outcome::Rejected, words, started.elapsed()),
        };
        let bytes = head + body.len();
        if bytes > self.message_max.0 {
            let words = format!(
                "the message has {bytes} bytes, the destination takes {} (its field `message_max`)",
                self.message_max
            );
            return Report {
                dead_letter: Some(DeadLetterReason::Oversize),
                ..Report::without_answer(Outcome::Rejected, words, started.elapsed())
            };
        }
        let message = Message {
            routing_key,
            properties,
            body,
        };
        match self.within_time(client, message).await {
            Ok(()) => Report {
                error: None,
                ..Report::without_answer(Outcome::Delivered, "", started.elapsed())
            },
            Err(failure) => {
                if let Failure::Egress(refusal) = &failure {
                    client.guard.count(*refusal);
                }
                let outcome = outcome::of_failure(&failure);
                Report::without_answer(outcome, failure.to_string(), started.elapsed())
            }
        }
    }

    async fn within_time(&self, client: &Client, message: Message<'_>) -> Result<(), Failure> {
        let endpoint = &self.endpoint;
        let listed = client.guard.check_listed(&endpoint.host, endpoint.port);
        listed.map_err(Failure::Egress)?;
        let until = tokio::time::Instant::now() + self.timeout;
        let elapsed = || Failure::Timeout(self.timeout);
        let connected = tokio::time::timeout_at(until, client.connection(endpoint)).await;
        let live = connected.map_err(|_elapsed| elapsed())??;
        match tokio::time::timeout_at(until, self.publish(&live, message)).await {
            Ok(published) => published,
            Err(_elapsed) => {
                // What it still holds would be sent later; without it nothing piles up there.
                client.forget(endpoint, &live).await;
                Err(if live.is_blocked() { Failure::Blocked } else { elapsed() })
            }
        }
    }

    async fn publish(&self, live: &Arc<Live>, message: Message<'_>) -> Result<(), Failure> {
        let channel = live.channel().await?;
        let exchange = ShortString::try_new(&*self.exchange);
        let exchange = exchange.map_err(|error| Failure::Ours(error.to_string()))?;
        let options = BasicPublishOptions {
            mandatory: true,
            immediate: false,
        };
        let published = channel
            .basic_publish(exchange, message.routing_key, options, message.body, message.properties)
            .await
            .map_err(|error| Failure::of(&error))?;
        match published.await.map_err(|error| Failure::of(&error))? {
            Confirmation::Ack(None) => {
                live.keep(channel);
                Ok(())
            }
            Confirmation::Ack(Some(_)) | Confirmation::Nack(Some(_)) => {
                live.keep(channel);
                Err(Failure::Returned)
            }
            Confirmation::Nack(None) => {
                live.keep(channel);
                Err(Failure::Nacked)
            }
            Confirmation::NotRequested => Err(Failure::Ours("the channel has no confirms".to_owned())),
        }
    }
}
