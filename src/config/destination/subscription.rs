//! The subscriptions of a destination's document.

use std::collections::BTreeSet;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use crate::config::faults::{Findings, child};
use crate::config::settings::{Format, Settings};
use crate::config::words;
use crate::domain::destination as domain;
use crate::domain::destination::{Scope, SubscriptionFilter};
use crate::domain::event_type::Pattern;
use crate::domain::filter::json::{self, Item};
use crate::domain::filter::{Dialect, Filter as Compiled};
use crate::domain::ids::{DestinationId, TenantId};

/// The most subscriptions of one destination.
pub(super) const SUBSCRIPTIONS_MAX: usize = 256;
/// The most topics, and the most event types, of one subscription.
const LIST_MAX: usize = 256;

/// Which events a destination receives: all conditions that are given must hold.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Subscription {
    /// Names it within the destination; its position (from 0) where absent.
    #[serde(default)]
    #[schemars(regex(pattern = "^[A-Za-z0-9_-]{1,64}$"))]
    id: Option<String>,
    /// Source topics; absent: all.
    #[serde(default)]
    #[schemars(length(min = 1, max = 256))]
    topics: Option<Vec<String>>,
    /// Event types. `*` alone: all; `*`: any run of characters within one segment (segments are separated by dots);
    /// a segment `**`: one or more segments; absent: all.
    #[serde(default)]
    #[schemars(length(min = 1, max = 256), inner(length(min = 1, max = 256)))]
    event_types: Option<Vec<String>>,
    /// What the event itself must be like; absent: anything.
    #[serde(default)]
    filter: Option<Filter>,
}

/// A condition on the event itself.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Filter {
    /// The language of the rule.
    dialect: Dialect,
    /// What it is asked about: the body, or the envelope `{"id", "type", "topic", "key", "time", "headers", "data"}`.
    #[serde(default)]
    scope: Scope,
    /// The rule: an object for `eventbridge` and `hookdeck`, a string for `shopify`.
    #[serde(rename = "rule")]
    _rule: Value,
}

/// Compiles the filters and finds what is wrong with the list of subscriptions. `text` is the document: its tree may hold
/// numbers rounded.
pub(super) fn check(
    subscriptions: &[Subscription],
    text: &[u8],
    knows_topic: &dyn Fn(&str) -> bool,
    limits: &Settings,
    findings: &mut Findings,
) -> Vec<domain::Subscription> {
    if subscriptions.len() > SUBSCRIPTIONS_MAX {
        let found = subscriptions.len();
        let message = format!("there are {found}; at most {SUBSCRIPTIONS_MAX} are allowed");
        findings.add("/subscriptions", message);
        return Vec::new();
    }
    rules(subscriptions, knows_topic, findings);
    compile(subscriptions, text, limits, findings)
}

fn rules(
    subscriptions: &[Subscription],
    knows_topic: &dyn Fn(&str) -> bool,
    findings: &mut Findings,
) {
    let mut ids = BTreeSet::new();
    for (index, subscription) in subscriptions.iter().enumerate() {
        let at = format!("/subscriptions/{index}");
        let given = subscription.id.as_deref();
        let id = given.map_or_else(|| index.to_string(), str::to_owned);
        let id_at = if given.is_some() {
            child(&at, "id")
        } else {
            at.clone()
        };
        // The form of a subscription's id is that of a destination's.
        if DestinationId::new(&TenantId::default_tenant(), &id).is_err() {
            let (id, form) = (words::quoted(&id), DestinationId::FORM);
            findings.add(&id_at, format!("{id} is not of the form {form}"));
        } else if findings.clean(&child(&at, "id")) && !ids.insert(id.clone()) {
            let message = format!(
                "another subscription is called \"{id}\" too; one without id is called by its position"
            );
            findings.add(&id_at, message);
        }
        check_list(
            subscription.topics.as_deref(),
            &child(&at, "topics"),
            findings,
            |topic| {
                (!knows_topic(topic))
                    .then(|| format!("{} is not read under `sources`", words::quoted(topic)))
            },
        );
        check_list(
            subscription.event_types.as_deref(),
            &child(&at, "event_types"),
            findings,
            |pattern| Pattern::parse(pattern).err().map(|error| error.to_string()),
        );
    }
}

/// Checks each element of a list that may be absent, but not empty.
fn check_list(
    list: Option<&[String]>,
    at: &str,
    findings: &mut Findings,
    wrong: impl Fn(&str) -> Option<String>,
) {
    let Some(list) = list else { return };
    if list.is_empty() {
        findings.add(
            at,
            "an empty list matches nothing; leave it out to match everything",
        );
    }
    if list.len() > LIST_MAX {
        findings.add(
            at,
            format!("there are {}; at most {LIST_MAX} are allowed", list.len()),
        );
        return;
    }
    for (index, element) in list.iter().enumerate() {
        if let Some(message) = wrong(element) {
            findings.add(&format!("{at}/{index}"), message);
        }
    }
}

fn compile(
    subscriptions: &[Subscription],
    text: &[u8],
    limits: &Settings,
    findings: &mut Findings,
) -> Vec<domain::Subscription> {
    let document = json::Document::parse(text).ok();
    let all = document
        .as_ref()
        .and_then(|all| all.root().member("subscriptions"));
    let mut items = all.into_iter().flat_map(Item::children);
    let mut compiled = Vec::with_capacity(subscriptions.len());
    for (index, subscription) in subscriptions.iter().enumerate() {
        let at = format!("/subscriptions/{index}/filter");
        let rule = items
            .next()
            .and_then(|item| item.member("filter")?.member("rule"));
        let filter = subscription.filter.as_ref();
        if filter.is_some_and(|filter| filter.scope == Scope::Body) {
            check_formats(subscription, &at, limits, findings);
        }
        compiled.push(domain::Subscription {
            id: subscription.id.clone(),
            topics: subscription.topics.clone(),
            event_types: subscription.event_types.clone(),
            filter: filter.and_then(|filter| filter.compile(rule, &at, limits, findings)),
        });
    }
    compiled
}

/// A filter on bodies that nothing looks into would make every event a dead letter.
fn check_formats(
    subscription: &Subscription,
    at: &str,
    limits: &Settings,
    findings: &mut Findings,
) {
    let topics = subscription.topics.iter().flatten();
    let opaque = |topic: &&String| {
        let source = limits.source_of(topic);
        source.is_some_and(|(_, source)| source.format == Format::Bytes)
    };
    for topic in topics.filter(opaque) {
        let topic = words::quoted(topic);
        let message = format!(
            "bodies of {topic} are not looked into, its format is `bytes`; write \"envelope\" and ask for headers, key or type"
        );
        findings.add(&child(at, "scope"), message);
    }
}

impl Filter {
    fn compile(
        &self,
        rule: Option<Item<'_>>,
        at: &str,
        limits: &Settings,
        findings: &mut Findings,
    ) -> Option<SubscriptionFilter> {
        let rule_at = child(at, "rule");
        if !findings.clean(&child(at, "dialect")) || !findings.clean(&rule_at) {
            return None;
        }
        let Some(rule) = rule else {
            // Without its filter the subscription would take every event.
            findings.add(&rule_at, "cannot be read");
            return None;
        };
        match Compiled::compile_within(self.dialect, rule, &limits.filters) {
            Ok(filter) => Some(SubscriptionFilter {
                scope: self.scope,
                filter: Arc::new(filter),
            }),
            Err(error) => {
                let column = error
                    .column
                    .map_or_else(String::new, |at| format!("column {at}: "));
                let message = format!("{} filter: {column}{}", error.dialect, error.message);
                findings.add(&format!("{rule_at}{}", error.pointer), message);
                None
            }
        }
    }
}
