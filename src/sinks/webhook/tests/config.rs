use super::*;
use crate::config::faults::Fault;

fn faults_with(mut sink: Value, settings: &Settings) -> Vec<Fault> {
    if let Value::Object(fields) = &mut sink {
        fields.entry("type").or_insert(json!("webhook"));
        fields.entry("url").or_insert(json!("https://example.com/"));
    }
    match Sink::parse(&sink, settings) {
        Ok(_) => Vec::new(),
        Err(faults) => faults,
    }
}

/// The pointers and what each message must contain.
fn check(sink: Value, expected: &[(&str, &str)]) {
    let found = faults_with(sink.clone(), &settings());
    let shown: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert_eq!(found.len(), expected.len(), "{sink}: {shown:?}");
    for (fault, (pointer, part)) in found.iter().zip(expected) {
        assert_eq!(&fault.pointer, pointer, "{sink}: {shown:?}");
        assert!(fault.message.contains(part), "{sink}: {shown:?}");
    }
}

#[test]
fn documents_that_are_valid_are_taken() {
    for sink in [
        json!({}),
        json!({"signing": null, "headers": null, "auth": null, "tls": null, "timeout": null}),
        json!({"signing": {"secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}}),
        json!({"headers": {}, "auth": {"type": "none"}, "tls": {}, "timeout": "20s"}),
        json!({"headers": {"X-A": "b", "Accept": "text/plain", "Authorization": "Custom x"}}),
        json!({"timeout": "60s"}),
        json!({"timeout": "100ms"}),
        json!({"tls": {"ca": null}}),
    ] {
        check(sink, &[]);
    }
}

#[test]
fn all_mistakes_are_named_at_once_with_their_pointers() {
    check(
        json!({
            "url": "http://user:pw@example.com/",
            "signing": {"secrets": [{"secret": "whsec_AAAA"}, {"secre": "x"}, {"secret": "?", "expires_at": "soon"}, 7]},
            "headers": {"Host": "a", "x/y~z": "b", "X-A": 1, "X-B": "a\nb"},
            "auth": {"type": "basic", "username": "a:b", "pass": "x"},
            "tls": {"ca": "…", "pin": "x"},
            "timeout": "5 weeks",
            "retries": 3
        }),
        &[
            ("/sink/url", "write those in `auth`"),
            (
                "/sink/signing/secrets/0/secret",
                "24 to 64 bytes, this one 3",
            ),
            ("/sink/signing/secrets/1/secret", "is missing"),
            (
                "/sink/signing/secrets/1/secre",
                "known here are `secret`, `expires_at`",
            ),
            ("/sink/signing/secrets/2/expires_at", "2026-01-31T08:00:00Z"),
            ("/sink/signing/secrets/2/secret", "`whsec_`"),
            ("/sink/signing/secrets/3", "must be an object"),
            ("/sink/headers/X-A", "must be a string"),
            ("/sink/headers/Host", "`host` is set by the service"),
            ("/sink/headers/x~1y~0z", "is not a name of a header"),
            ("/sink/headers/X-B", "visible ASCII"),
            ("/sink/auth/password", "is missing"),
            (
                "/sink/auth/pass",
                "known here are `type`, `username`, `password`",
            ),
            ("/sink/tls/ca", "\"ca\" is not supported yet"),
            ("/sink/tls/pin", "is not known"),
            ("/sink/timeout", "`20s`"),
            (
                "/sink/retries",
                "is not known; known here are `type`, `url`",
            ),
        ],
    );
}

#[test]
fn what_is_no_url_to_send_to_is_refused() {
    for (url, part) in [
        ("example.com", "is not a URL"),
        ("", "is not a URL"),
        ("gopher://127.0.0.1", "scheme"),
        ("https://user:password@example.com/", "`auth`"),
    ] {
        check(json!({"url": url}), &[("/sink/url", part)]);
    }
    check(json!({"url": 7}), &[("/sink/url", "must be a string")]);
    check(json!({"url": null}), &[("/sink/url", "is missing")]);
}

#[test]
fn the_operator_s_rules_do_not_make_a_document_invalid_but_are_told_to_its_author() {
    let mut settings = settings();
    settings.egress.allow_http = false;
    let guard = guard(&settings);
    for url in [
        "https://10.0.0.1/",
        "https://localhost/",
        "https://example.com:22/",
        "http://example.com/",
    ] {
        let sink = json!({"type": "webhook", "url": url});
        let sink = Sink::parse(&sink, &settings).expect("valid");
        let fault = sink.check_egress(&guard).expect_err(url);
        assert_eq!(fault.pointer, "/sink/url");
        assert!(fault.message.contains("its operator decides"), "{fault}");
    }
}

#[test]
fn headers_of_the_connection_and_of_webhooks_cannot_be_set() {
    for name in [
        "host",
        "HOST",
        "Content-Length",
        "Transfer-Encoding",
        "Connection",
        "Keep-Alive",
        "TE",
        "Trailer",
        "Upgrade",
        "Expect",
        "Proxy-Authorization",
        "proxy-connection",
        "Webhook-Id",
        "webhook-anything",
    ] {
        let at = format!("/sink/headers/{name}");
        check(
            json!({"headers": {name: "x"}}),
            &[(&at, "is set by the service")],
        );
        let auth = json!({"type": "api_key", "header": name, "value": "x"});
        check(
            json!({"auth": auth}),
            &[("/sink/auth/header", "is set by the service")],
        );
    }
    for name in ["", " ", "a b", "a:b", "a\r\nb", "\u{e9}", "a\0"] {
        let at = format!("/sink/headers/{name}");
        check(
            json!({"headers": {name: "x"}}),
            &[(&at, "is not a name of a header")],
        );
    }
    for value in ["a\nb", "a\rb", "a\0b", "\u{1b}", "\u{7f}", "\u{e9}"] {
        check(
            json!({"headers": {"x": value}}),
            &[("/sink/headers/x", "visible ASCII")],
        );
    }
}

#[test]
fn headers_are_bounded_and_stand_once() {
    check(
        json!({"headers": {"X-A": "1", "x-a": "2"}}),
        &[("/sink/headers/x-a", "twice")],
    );
    check(
        json!({"headers": {"X-Key": "1"}, "auth": {"type": "api_key", "header": "x-key", "value": "2"}}),
        &[("/sink/headers", "sets `x-key`, which `auth` sets too")],
    );
    check(
        json!({"headers": {"x": "y".repeat(4097)}}),
        &[("/sink/headers/x", "holds 4097 bytes")],
    );
    let many: serde_json::Map<String, Value> =
        (0..33).map(|n| (format!("x-{n}"), json!("y"))).collect();
    check(
        json!({"headers": many}),
        &[("/sink/headers", "32 headers at most, not 33")],
    );
    check(
        json!({"headers": []}),
        &[("/sink/headers", "must be an object")],
    );
}

#[test]
fn signing_takes_one_secret_or_one_to_five() {
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let several = |count| vec![json!({"secret": secret}); count];
    check(json!({"signing": {"secrets": several(1)}}), &[]);
    check(json!({"signing": {"secrets": several(5)}}), &[]);
    check(
        json!({"signing": {"secrets": several(6)}}),
        &[("/sink/signing/secrets", "1 to 5 secrets, not 6")],
    );
    check(
        json!({"signing": {"secrets": []}}),
        &[("/sink/signing/secrets", "1 to 5 secrets, not 0")],
    );
    let either = ("/sink/signing", "either `secret` or `secrets`");
    check(json!({"signing": {}}), &[either]);
    check(
        json!({"signing": {"secret": secret, "secrets": several(1)}}),
        &[either],
    );
    check(
        json!({"signing": {"secret": 5}}),
        &[("/sink/signing/secret", "must be a string")],
    );
    check(
        json!({"signing": {"secrets": {}}}),
        &[("/sink/signing/secrets", "must be an array")],
    );
    check(
        json!({"signing": secret}),
        &[("/sink/signing", "must be an object")],
    );
}

#[test]
fn what_is_documented_and_not_built_is_refused_by_name() {
    check(
        json!({"auth": {"type": "oauth2", "token_url": "https://example.com", "client_id": "a", "client_secret": "b", "scopes": []}}),
        &[(
            "/sink/auth/type",
            "\"type\": \"oauth2\" is not supported yet",
        )],
    );
    check(
        json!({"tls": {"ca": "a", "cert": "b", "key": "c"}}),
        &[
            ("/sink/tls/ca", "\"ca\" is not supported yet"),
            ("/sink/tls/cert", "\"cert\" is not supported yet"),
            ("/sink/tls/key", "\"key\" is not supported yet"),
        ],
    );
}

#[test]
fn credentials_are_checked() {
    for (auth, pointer, part) in [
        (json!({}), "/sink/auth/type", "is missing"),
        (
            json!({"type": "digest"}),
            "/sink/auth/type",
            "`none`, `basic`, `bearer`, `api_key`",
        ),
        (
            json!({"type": "none", "token": "x"}),
            "/sink/auth/token",
            "is not known",
        ),
        (
            json!({"type": "basic", "username": "a"}),
            "/sink/auth/password",
            "is missing",
        ),
        (
            json!({"type": "basic", "username": "a:b", "password": ""}),
            "/sink/auth/username",
            "colon",
        ),
        (
            json!({"type": "basic", "username": "a", "password": "\n"}),
            "/sink/auth/password",
            "control",
        ),
        (json!({"type": "bearer"}), "/sink/auth/token", "is missing"),
        (
            json!({"type": "bearer", "token": ""}),
            "/sink/auth/token",
            "is empty",
        ),
        (
            json!({"type": "bearer", "token": "a\nb"}),
            "/sink/auth/token",
            "visible ASCII",
        ),
        (
            json!({"type": "api_key", "header": "x"}),
            "/sink/auth/value",
            "is missing",
        ),
        (
            json!({"type": "api_key", "header": "x", "value": "\u{0}"}),
            "/sink/auth/value",
            "visible ASCII",
        ),
        (json!("none"), "/sink/auth", "must be an object"),
    ] {
        check(json!({"auth": auth}), &[(pointer, part)]);
    }
}

#[test]
fn the_timeout_stays_within_the_settings() {
    for (timeout, part) in [
        (
            json!("61s"),
            "`61s` is not between 100ms and 1m (setting webhook.timeout_max)",
        ),
        (json!("0s"), "`0ms` is not between"),
        (json!("99ms"), "is not between"),
        (json!(20), "must be a string"),
        (json!("20"), "`20` is not a duration"),
    ] {
        check(json!({"timeout": timeout}), &[("/sink/timeout", part)]);
    }
    let mut settings = settings();
    settings.webhook.timeout_max = Span::secs(5);
    settings.webhook.first_byte_timeout = Span::secs(60);
    let sink = parse(json!({"url": "https://example.com"}), &settings);
    let shown = format!("{sink:?}");
    assert!(
        shown.contains("total: 5s") && shown.contains("first_byte: 5s"),
        "{shown}"
    );
}

#[test]
fn neither_faults_nor_debug_output_repeat_a_secret() {
    let canary = "c4nary";
    let document = json!({
        "url": format!("https://{canary}:{canary}@example.com/?{canary}"),
        "signing": {"secrets": [{"secret": canary}, {"secret": format!("whsec_{canary}")}, {"secret": canary, "expires_at": canary}]},
        "headers": {"X-A": format!("{canary}\n"), "host": canary},
        "auth": {"type": "basic", "username": format!("{canary}:"), "password": format!("{canary}\0")},
        "tls": {"key": canary},
    });
    let faults = faults_with(document, &settings());
    assert!(faults.len() >= 8, "{faults:?}");
    assert!(!format!("{faults:?}").contains(canary), "{faults:?}");

    let sink = json!({
        "url": format!("https://example.com/{canary}?{canary}"),
        "signing": {"secret": format!("whsec_{}", canary.repeat(6))},
        "headers": {"X-A": canary},
        "auth": {"type": "bearer", "token": canary},
    });
    let sink = webhook(sink);
    assert!(!format!("{sink:?}").contains(canary), "{sink:?}");
}

#[test]
fn the_schema_has_the_fields_that_are_read() {
    let schema = crate::sinks::webhook::schema().to_value();
    let names: Vec<&String> = schema["properties"]
        .as_object()
        .expect("fields")
        .keys()
        .collect();
    let faults = faults_with(json!({"?": 1}), &settings());
    let known: Vec<&str> = faults[0].message.split('`').skip(1).step_by(2).collect();
    assert_eq!(names, known);
}
