//! RabbitMQ, beside a loop of lapin with confirms and mandatory messages: one connection, one channel for each task.

use std::sync::Arc;

use bytes::Bytes;
use lapin::options::{
    BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions, QueuePurgeOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties};
use serde_json::{Value, json};

use crate::{Scenario, TOLD, service};

const QUEUE: &str = "target";

pub(crate) struct RabbitMq {
    url: String,
    connection: Arc<Connection>,
}

impl Scenario for RabbitMq {
    const NAME: &'static str = "rabbitmq";
    type Bare = Channel;

    async fn start() -> Self {
        let facts = service::start("rabbitmq/start", &[]);
        let fact = |name: &str| facts.get(name).expect("start prints it");
        let (user, password) = (fact("user"), fact("password"));
        let url = format!("amqp://{user}:{password}@{}/", fact("amqp"));
        let whole = format!("{url}%2f");
        let connection = Connection::connect(&whole, ConnectionProperties::default());
        let connection = connection.await.expect("the broker answers");
        let channel = connection.create_channel().await.expect("a channel");
        let options = QueueDeclareOptions::durable();
        let made = channel.queue_declare(QUEUE.into(), options, FieldTable::default());
        made.await.expect("the queue is made");
        Self {
            url,
            connection: Arc::new(connection),
        }
    }

    fn sink(&self) -> Value {
        json!({"type": "rabbitmq", "url": self.url, "exchange": "", "routing_key": QUEUE})
    }

    async fn bare(&self) -> Channel {
        let channel = self.connection.create_channel().await.expect("a channel");
        // Both sides begin with an empty queue.
        let purged = channel.queue_purge(QUEUE.into(), QueuePurgeOptions::default());
        purged.await.expect("the queue is emptied");
        let confirms = channel.confirm_select(ConfirmSelectOptions::default());
        confirms.await.expect("confirms");
        channel
    }

    async fn send(channel: &mut Channel, id: &str, body: &Bytes) {
        let options = BasicPublishOptions {
            mandatory: true,
            immediate: false,
        };
        let mut headers = FieldTable::default();
        for (name, value) in [("event-id", id)].into_iter().chain(TOLD) {
            headers.insert(name.into(), AMQPValue::LongString(value.into()));
        }
        let persistent = BasicProperties::default()
            .with_delivery_mode(2)
            .with_message_id(id.into())
            .with_headers(headers);
        let published = channel.basic_publish("".into(), QUEUE.into(), options, body, persistent);
        let confirmed = published.await.expect("it is sent").await;
        assert_eq!(confirmed.expect("a confirm"), Confirmation::Ack(None));
    }
}
