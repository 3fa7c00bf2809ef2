//! The ids of topics: what tells a topic from one that was made again under its name.
//!
//! librdkafka goes on at the old offset of a topic that was made again, and so skips what the new one holds before it;
//! the router compares ids and starts over. The crate has no call for it, so librdkafka's is used.
//!
//! Invariant: an id that is told is the broker's; a topic whose id cannot be told (an old broker, the built-in one, a
//! missing permission) is left out.

use std::collections::HashMap;
use std::ffi::{CStr, CString, c_char, c_int};
use std::sync::Arc;
use std::time::Duration;

use rdkafka::bindings as native;
use rdkafka::client::{Client, ClientContext};

/// Looks up the ids of `topics`, as Kafka's tools print them. Blocks for `limit` at most.
#[must_use]
#[expect(
    unsafe_code,
    reason = "the crate has no safe call that tells the ids of topics"
)]
pub fn look_up<C: ClientContext>(
    client: &Client<C>,
    topics: &[Arc<str>],
    limit: Duration,
) -> HashMap<Arc<str>, Arc<str>> {
    let names: Vec<CString> = topics
        .iter()
        .filter_map(|topic| CString::new(&**topic).ok())
        .collect();
    let mut pointers: Vec<*const c_char> = names.iter().map(|name| name.as_ptr()).collect();
    if pointers.is_empty() {
        return HashMap::new();
    }
    let limit_ms = c_int::try_from(limit.as_millis()).unwrap_or(c_int::MAX);
    let handle = client.native_ptr();
    // SAFETY: the client is alive while it is borrowed; the names live until the end; the collection copies them, and
    // the request copies the collection and the options, so all three are destroyed here; the event is read before it
    // is destroyed. A null event means that the time ran out; an answer that comes later is destroyed with its queue.
    unsafe {
        let queue = native::rd_kafka_queue_new(handle);
        let asked =
            native::rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len());
        let options = native::rd_kafka_AdminOptions_new(
            handle,
            native::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS,
        );
        native::rd_kafka_AdminOptions_set_request_timeout(
            options,
            limit_ms,
            std::ptr::null_mut(),
            0,
        );
        native::rd_kafka_DescribeTopics(handle, asked, options, queue);
        native::rd_kafka_AdminOptions_destroy(options);
        native::rd_kafka_TopicCollection_destroy(asked);
        let event = native::rd_kafka_queue_poll(queue, limit_ms);
        let found = if event.is_null() {
            HashMap::new()
        } else {
            let found = read(event, topics);
            native::rd_kafka_event_destroy(event);
            found
        };
        native::rd_kafka_queue_destroy(queue);
        found
    }
}

/// What an answer tells.
///
/// # Safety
/// `event` is alive.
#[expect(
    unsafe_code,
    reason = "the crate has no safe call that tells the ids of topics"
)]
unsafe fn read(
    event: *mut native::rd_kafka_event_t,
    topics: &[Arc<str>],
) -> HashMap<Arc<str>, Arc<str>> {
    let mut found = HashMap::new();
    // SAFETY: the event is alive; what it gives belongs to it, and texts are copied out. `count` says how many
    // descriptions the array has.
    unsafe {
        let result = native::rd_kafka_event_DescribeTopics_result(event);
        if result.is_null()
            || native::rd_kafka_event_error(event)
                != native::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR
        {
            return found;
        }
        let mut count = 0;
        let descriptions = native::rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
        for index in 0..count {
            let description = *descriptions.add(index);
            let error = native::rd_kafka_TopicDescription_error(description);
            if native::rd_kafka_error_code(error)
                != native::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR
            {
                continue;
            }
            let name = CStr::from_ptr(native::rd_kafka_TopicDescription_name(description));
            let id = native::rd_kafka_TopicDescription_topic_id(description);
            if native::rd_kafka_Uuid_most_significant_bits(id) == 0
                && native::rd_kafka_Uuid_least_significant_bits(id) == 0
            {
                continue;
            }
            let id = CStr::from_ptr(native::rd_kafka_Uuid_base64str(id)).to_string_lossy();
            let name = name.to_string_lossy();
            if let Some(topic) = topics.iter().find(|topic| ***topic == *name) {
                found.insert(Arc::clone(topic), Arc::from(&*id));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use rdkafka::ClientConfig;
    use rdkafka::mocking::MockCluster;
    use rdkafka::producer::{BaseProducer, Producer as _};

    use super::*;

    #[test]
    fn a_topic_that_is_not_there_or_a_broker_that_does_not_answer_tells_no_id() {
        let limit = Duration::from_millis(300);
        let cluster = MockCluster::new(1).expect("a mock cluster");
        for brokers in [cluster.bootstrap_servers(), "127.0.0.1:1".to_owned()] {
            let mut config = ClientConfig::new();
            let config = config
                .set("bootstrap.servers", brokers)
                .set_log_level(rdkafka::config::RDKafkaLogLevel::Emerg);
            let producer: BaseProducer = config.create().expect("a client");
            assert!(look_up(producer.client(), &["none".into()], limit).is_empty());
            assert!(look_up(producer.client(), &[], limit).is_empty());
        }
    }
}
