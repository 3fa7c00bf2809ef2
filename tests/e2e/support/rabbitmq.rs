//! A real RabbitMQ, run by `tests/services/rabbitmq/start`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, LazyLock};

use lapin::message::BasicGetMessage;
use lapin::options::{
    BasicGetOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ConnectionProperties, ExchangeKind};

use super::kafka::{facts_of, run};
use super::{guard, services};

/// One broker. It is ended, and its data deleted, when this is dropped or the test binary ends.
pub(crate) struct RabbitMq {
    pub(crate) plain: SocketAddr,
    pub(crate) tls: SocketAddr,
    pub(crate) ca: PathBuf,
    pub(crate) user: String,
    pub(crate) password: String,
    folder: PathBuf,
    /// Of the broker and of its port mapper.
    pids: [String; 2],
}

impl RabbitMq {
    /// The broker that tests share which do not tamper with it.
    pub(crate) fn shared() -> Arc<Self> {
        static SHARED: LazyLock<Arc<RabbitMq>> = LazyLock::new(RabbitMq::start);
        Arc::clone(&SHARED)
    }

    /// A broker of its own. Blocks until it answers.
    pub(crate) fn start() -> Arc<Self> {
        let facts = facts_of(&run(Command::new(script("start")).arg("--tls")));
        let fact = |name: &str| {
            let found = facts.get(name).cloned();
            found.unwrap_or_else(|| panic!("start prints `{name}`, not only {facts:?}"))
        };
        let address = |name: &str| fact(name).parse().expect("an address");
        let pids = [fact("pid"), fact("epmd")];
        for pid in &pids {
            guard::process(pid.parse().expect("a process id"));
        }
        let folder = PathBuf::from(fact("dir"));
        guard::folder(&folder);
        Arc::new(Self {
            plain: address("amqp"),
            tls: address("amqps"),
            ca: PathBuf::from(fact("ca")),
            user: fact("user"),
            password: fact("password"),
            folder,
            pids,
        })
    }

    /// Runs rabbitmqctl.
    pub(crate) fn ctl(&self, arguments: &[&str]) {
        run(Command::new(script("ctl"))
            .arg(&self.folder)
            .args(arguments));
    }

    /// A URL for the broker at `address`: its own, or that of a relay before it.
    pub(crate) fn url(&self, scheme: &str, address: SocketAddr) -> String {
        format!("{scheme}://{}:{}@{address}/", self.user, self.password)
    }

    /// A channel of the tests' own client.
    pub(crate) async fn channel(&self) -> (Connection, Channel) {
        // This client reads `/` as the virtual host without a name.
        let url = format!("{}%2f", self.url("amqp", self.plain));
        let connection = Connection::connect(&url, ConnectionProperties::default()).await;
        let connection = connection.expect("the broker answers");
        let channel = connection.create_channel().await.expect("a channel");
        (connection, channel)
    }

    /// Makes an exchange, and a queue of the same name that gets what has the routing key `key`.
    pub(crate) async fn declare(&self, name: &str, key: &str) {
        let (_connection, channel) = self.channel().await;
        let exchange = ExchangeDeclareOptions {
            durable: true,
            ..ExchangeDeclareOptions::default()
        };
        let none = FieldTable::default;
        let made = channel.exchange_declare(name.into(), ExchangeKind::Topic, exchange, none());
        made.await.expect("the exchange can be made");
        let made = channel.queue_declare(name.into(), QueueDeclareOptions::durable(), none());
        made.await.expect("the queue can be made");
        let bound = channel.queue_bind(
            name.into(),
            name.into(),
            key.into(),
            QueueBindOptions::default(),
            none(),
        );
        bound.await.expect("the queue can be bound");
    }

    /// Takes everything out of a queue.
    pub(crate) async fn take_all(&self, queue: &str) -> Vec<BasicGetMessage> {
        let (_connection, channel) = self.channel().await;
        let mut taken = Vec::new();
        loop {
            let options = BasicGetOptions { no_ack: true };
            match channel.basic_get(queue.into(), options).await {
                Ok(Some(message)) => taken.push(message),
                Ok(None) => return taken,
                Err(error) => panic!("{queue}: {error}"),
            }
        }
    }
}

impl Drop for RabbitMq {
    fn drop(&mut self) {
        // Its data are deleted next: no need to let it finish.
        let stopped = Command::new(script("stop"))
            .arg("--now")
            .args(&self.pids)
            .status();
        let deleted = std::fs::remove_dir_all(&self.folder);
        // A test may be failing right now, and what remains is the guard's at the end.
        if stopped.is_ok_and(|status| status.success()) && deleted.is_ok() {
            for pid in &self.pids {
                guard::ended(pid.parse().expect("a process id"));
            }
        }
    }
}

fn script(name: &str) -> PathBuf {
    services().join("rabbitmq").join(name)
}
