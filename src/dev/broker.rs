//! An embedded Kafka for trying things out: librdkafka's mock cluster. Groups work, nothing is kept, and it has no Admin
//! API, so topics are made on its handle.

use std::time::Duration;

use rdkafka::bindings as native;
use rdkafka::client::Client;
use rdkafka::config::ClientConfig;
use rdkafka::producer::{BaseProducer, DefaultProducerContext, Producer as _};

/// A running mock cluster; it ends with the value.
pub(crate) struct Broker {
    holder: BaseProducer,
}

impl Broker {
    /// Starts one broker on a free port of the loopback interface.
    pub(crate) fn start() -> anyhow::Result<Self> {
        let holder: BaseProducer = ClientConfig::new()
            .set("test.mock.num.brokers", "1")
            .set_log_level(rdkafka::config::RDKafkaLogLevel::Critical)
            .create()?;
        join_groups_at_once(holder.client())?;
        Ok(Self { holder })
    }

    /// Its `bootstrap.servers`.
    pub(crate) fn address(&self) -> anyhow::Result<String> {
        let cluster = self.holder.client().mock_cluster();
        let cluster = cluster.ok_or_else(|| anyhow::anyhow!("the embedded broker does not run"))?;
        Ok(cluster.bootstrap_servers())
    }

    /// Makes a topic; one that exists stays as it is.
    pub(crate) fn create_topic(&self, name: &str, partitions: i32) -> Result<(), String> {
        let cluster = self.holder.client().mock_cluster();
        let cluster = cluster.ok_or("the embedded broker does not run")?;
        match cluster.create_topic(name, partitions, 1) {
            Ok(()) => Ok(()),
            Err(error)
                if error.rdkafka_error_code()
                    == Some(rdkafka::error::RDKafkaErrorCode::TopicAlreadyExists) =>
            {
                Ok(())
            }
            Err(error) => Err(error.to_string()),
        }
    }

    /// Keeps the cluster's client served.
    pub(crate) fn poll(&self) {
        self.holder.poll(Duration::ZERO);
    }
}

/// Without this, the first member of a group waits three seconds for others.
#[expect(
    unsafe_code,
    reason = "the crate offers no safe call for this property of the mock cluster"
)]
fn join_groups_at_once(client: &Client<DefaultProducerContext>) -> anyhow::Result<()> {
    // SAFETY: the client is alive; the handle belongs to it and is used in this call only.
    unsafe {
        let cluster = native::rd_kafka_handle_mock_cluster(client.native_ptr());
        anyhow::ensure!(!cluster.is_null(), "the embedded broker did not start");
        native::rd_kafka_mock_group_initial_rebalance_delay_ms(cluster, 0);
    }
    Ok(())
}
