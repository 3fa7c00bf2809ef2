//! What to do about the outcome of an attempt, in a sentence for whoever runs the destination. Pure.

use crate::domain::outcome::Outcome;

/// The sentence for an outcome of a sink of this `type`.
#[must_use]
pub fn advice(outcome: Outcome, kind: &str) -> &'static str {
    match outcome {
        Outcome::Delivered => "nothing to do: the destination took the event",
        Outcome::Redirect => {
            "write the address that it redirects to into the document: redirects are not followed"
        }
        Outcome::Gone => {
            "the receiver wants no more events: delete the destination, or ask its owner for a new address"
        }
        Outcome::Auth => auth(kind),
        Outcome::NotFound => not_found(kind),
        Outcome::Rejected => rejected(kind),
        Outcome::Throttled => throttled(kind),
        Outcome::Server => {
            "look at the receiving side: it answers, but with an error of its own; deliveries are retried meanwhile"
        }
        Outcome::Network => network(kind),
        Outcome::Refused => refused(kind),
        Outcome::Internal => {
            "look at this service's own log and credentials: it could not send, which is not the destination's fault"
        }
    }
}

fn auth(kind: &str) -> &'static str {
    match kind {
        "sqs" => {
            "check `auth`, and that its identity may do sqs:SendMessage on the queue, also by the queue's own policy"
        }
        "eventbridge" => {
            "check `auth`, and that its identity may do events:PutEvents on the bus, also by the bus's own policy"
        }
        "pubsub" => {
            "check the key in `auth`, and that its account has the role roles/pubsub.publisher on the topic"
        }
        "kafka" => {
            "check `auth` and `tls`, and that the ACLs allow Write and Describe on the topic"
        }
        "rabbitmq" => {
            "check user, password and virtual host in `url`, and that the user has the permission to write to the exchange"
        }
        "hookdeck" => "check `api_key`: it has to be a key of the project that holds the source",
        _ => "check `auth` and `signing`: the receiver does not accept these credentials",
    }
}

fn not_found(kind: &str) -> &'static str {
    match kind {
        "sqs" => "check `queue_url` and `region`: there is no such queue",
        "eventbridge" => "check `event_bus` and `region`: there is no such bus",
        "pubsub" => "check `project`, `topic` and `endpoint`: there is no such topic",
        "kafka" => "check `topic`: the cluster has none of that name, and none is made by sending",
        "rabbitmq" => {
            "check `exchange` and `routing_key`: there is no such exchange, or no queue is bound that takes the event"
        }
        "hookdeck" => "check `source`: the project of this key has none of that name",
        _ => "check the path in `url`: the receiver takes no POST there",
    }
}

fn rejected(kind: &str) -> &'static str {
    match kind {
        "pubsub" => {
            "the service refuses this event: compare its size and the topic's schema, which a sample event may not fit"
        }
        "sqs" | "eventbridge" => {
            "the service refuses this event: compare its size and what the target demands of entries"
        }
        "kafka" | "rabbitmq" => {
            "the broker refuses this event: compare its size with the limits of the topic or queue"
        }
        _ => {
            "read the answer: the receiver refuses this event, perhaps because it does not know its type"
        }
    }
}

fn throttled(kind: &str) -> &'static str {
    match kind {
        "sqs" | "eventbridge" | "pubsub" => {
            "wait, or ask for a higher quota; `delivery.rate` keeps below the one that there is"
        }
        _ => "wait: the receiver asked for less; `delivery.rate` keeps below what it takes",
    }
}

fn network(kind: &str) -> &'static str {
    match kind {
        "kafka" => {
            "check `brokers` and `tls`, and that the addresses that the brokers advertise can be reached from here"
        }
        "rabbitmq" => "check host and port in `url`, and its scheme: `amqps` for TLS",
        "webhook" => {
            "check host and port in `url`, its certificate, and whether it answers within `timeout`"
        }
        _ => {
            "check `endpoint`, and that this machine reaches it; without one the service itself was not reached in time"
        }
    }
}

fn refused(kind: &str) -> &'static str {
    match kind {
        "kafka" | "rabbitmq" => {
            "the operator has to name the broker's host in egress.allow: these sinks reach no others"
        }
        _ => {
            "nothing was sent: `posthaste egress` tells how the operator's settings judge the address, the error tells the rest"
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const KINDS: [&str; 7] = [
        "webhook",
        "sqs",
        "eventbridge",
        "pubsub",
        "kafka",
        "rabbitmq",
        "hookdeck",
    ];

    #[test]
    fn every_outcome_of_every_sink_has_one_plain_sentence() {
        for kind in KINDS {
            let mut sentences = BTreeSet::new();
            for outcome in Outcome::ALL {
                let sentence = advice(outcome, kind);
                assert!(sentence.len() > 20, "{kind} {outcome:?}: {sentence}");
                assert!(!sentence.ends_with('.') && !sentence.contains('\n'));
                sentences.insert(sentence);
            }
            assert_eq!(
                sentences.len(),
                Outcome::ALL.len(),
                "{kind}: none is said twice"
            );
        }
    }

    #[test]
    fn the_field_to_look_at_is_one_that_the_sink_has() {
        for (kind, outcome, field) in [
            ("webhook", Outcome::Auth, "`auth`"),
            ("webhook", Outcome::NotFound, "`url`"),
            ("webhook", Outcome::Network, "`url`"),
            ("sqs", Outcome::Auth, "sqs:SendMessage"),
            ("sqs", Outcome::NotFound, "`queue_url`"),
            ("eventbridge", Outcome::Auth, "events:PutEvents"),
            ("eventbridge", Outcome::NotFound, "`event_bus`"),
            ("pubsub", Outcome::Auth, "roles/pubsub.publisher"),
            ("pubsub", Outcome::NotFound, "`topic`"),
            ("pubsub", Outcome::Rejected, "schema"),
            ("kafka", Outcome::Auth, "ACLs"),
            ("kafka", Outcome::NotFound, "`topic`"),
            ("kafka", Outcome::Network, "`brokers`"),
            ("kafka", Outcome::Refused, "egress.allow"),
            ("rabbitmq", Outcome::Auth, "virtual host"),
            ("rabbitmq", Outcome::NotFound, "`routing_key`"),
            ("rabbitmq", Outcome::Network, "`amqps`"),
            ("rabbitmq", Outcome::Refused, "egress.allow"),
            ("hookdeck", Outcome::Auth, "`api_key`"),
            ("hookdeck", Outcome::NotFound, "`source`"),
        ] {
            let sentence = advice(outcome, kind);
            assert!(sentence.contains(field), "{kind} {outcome:?}: {sentence}");
        }
    }

    #[test]
    fn every_sink_that_is_built_has_been_thought_of() {
        for kind in crate::sinks::kinds() {
            assert!(KINDS.contains(&kind), "{kind}");
        }
    }
}
