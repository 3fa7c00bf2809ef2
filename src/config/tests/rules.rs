//! Each rule of settings, and what is said where it is broken.

use super::from_file;

#[test]
fn each_rule_is_kept() {
    for (text, message) in [
        (
            "[topics]\nlanes = 0",
            "/topics/lanes: 0 is out of range; 1 to 1024 is allowed",
        ),
        ("[topics]\nlanes = 1025", "/topics/lanes: 1025"),
        (
            "[topics]\nlanes = -1",
            "/topics/lanes: found -1, expected a whole number from 0",
        ),
        (
            "[topics]\nlanes = \"8\"",
            "/topics/lanes: found \"8\", expected a whole number",
        ),
        (
            "[topics]\nprefix = \"\"",
            "/topics/prefix: \"\" cannot start",
        ),
        (
            "[topics]\nprefix = \"a/b\"",
            "/topics/prefix: \"a/b\" cannot start",
        ),
        ("[kafka]\nbrokers = \"a:1,\"", "/kafka/brokers"),
        ("[kafka]\ngroup = \"\"", "/kafka/group"),
        ("[retry]\ntiers = []", "/retry/tiers: there are 0 tiers"),
        (
            "[retry]\ntiers = [\"0ms\"]",
            "/retry/tiers/0: 0ms is out of range",
        ),
        (
            "[retry]\ntiers = [\"5s\", \"5s\"]",
            "/retry/tiers/1: 5s is not longer than 5s",
        ),
        (
            "[retry]\ntiers = [5]",
            "/retry/tiers/0: found 5, expected a string",
        ),
        (
            "[retry]\ndelete_after = \"5s\"",
            "/catalog/stale_after: 5s must be less than `retry.delete_after`",
        ),
        (
            "[dispatch]\nslots = 0",
            "/dispatch/slots: 0 is out of range",
        ),
        (
            "[dispatch]\nbacklog_share = 1.1",
            "/dispatch/backlog_share: 1.1 is out of range",
        ),
        (
            "[dispatch]\nbacklog_share = 0",
            "/dispatch/backlog_share: 0 is out of range",
        ),
        (
            "[dispatch]\nbacklog_share = nan",
            "/dispatch/backlog_share: found \"nan\", expected a number",
        ),
        (
            "[ledger]\nspan = 9999",
            "/ledger/events: 10000 must be less than `ledger.span`, which is 9999",
        ),
        (
            "[webhook]\nresponse_read = \"1KiB\"",
            "/webhook/response_kept: 16KiB must be less",
        ),
        (
            "[admin]\nlisten = \"8077\"",
            "/admin/listen: `8077` is not an address with a port",
        ),
        (
            "[sources.\"a b\"]",
            "/sources/a b: \"a b\" is not a topic's name",
        ),
        (
            "[sources.\"posthaste.retry\"]",
            "/sources/posthaste.retry: this is one of Posthaste's own topics",
        ),
        (
            "[sources.a]\nid = \"$.id\"",
            "/sources/a/id: \"$.id\" is not a JSON pointer",
        ),
        (
            "[sources.a]\nformat = \"bytes\"\ntype = \"/t\"",
            "/sources/a/type: bodies of format `bytes`",
        ),
        (
            "[sources.a]\nformat = \"avro\"",
            "/sources/a/format: \"avro\" is not supported yet",
        ),
        (
            "[sources.a]\nformat = \"xml\"",
            "/sources/a/format: found \"xml\", expected \"json\", \"cloudevents\" or \"bytes\"",
        ),
        (
            "[sources.a]\nstart = \"now\"",
            "/sources/a/start: `now` is not a place to start",
        ),
        (
            "[sources]\na = 1",
            "/sources/a: found 1, expected an object",
        ),
        ("kafka = 1", "/kafka: this is a table; set its keys"),
        (
            "[kafka.properties]\ngroup.id = \"x\"",
            "/kafka/properties/group.id: this property is set by Posthaste",
        ),
        (
            "[kafka.properties]\nacks = 1",
            "/kafka/properties/acks: this property is set by Posthaste: an offset",
        ),
        (
            "[kafka.properties]\na = [1]",
            "/kafka/properties/a: found a list, expected a string",
        ),
        (
            "[kafka.properties]\nsasl.password_file = \"/nowhere\"",
            "cannot read `/nowhere`",
        ),
        ("[kafka]\nx", "this is not TOML"),
    ] {
        let faults = from_file("rule", text).expect_err(text);
        assert_eq!(faults.len(), 1, "{text}: {faults:?}");
        assert!(
            faults.concat().contains(message),
            "{faults:?} should say {message}"
        );
        assert!(
            faults.concat().contains("FILE, line ") || message.contains("must be less"),
            "{faults:?}"
        );
    }
}
