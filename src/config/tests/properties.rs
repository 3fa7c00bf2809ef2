//! librdkafka properties from all sources.

use super::{TempFile, from_env, from_file, pairs};
use crate::config::{Sources, load};

#[test]
fn properties_may_be_written_in_every_spelling() {
    let settings = from_file(
        "properties",
        "[kafka.properties]\nsecurity.protocol = \"SSL\"\n\"ssl.ca.location\" = \"/ca\"\nsocket.keepalive.enable = true\n\
         socket.timeout.ms = 5000\nssl.key.location = \"/key\"\n",
    )
    .expect("valid");
    let properties: Vec<_> = settings
        .kafka
        .properties
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    assert_eq!(
        properties,
        [
            "security.protocol=SSL",
            "socket.keepalive.enable=true",
            "socket.timeout.ms=5000",
            "ssl.ca.location=/ca",
            "ssl.key.location=/key",
        ]
    );
    let settings = from_env(&[
        (
            "POSTHASTE__KAFKA__PROPERTIES__SECURITY_PROTOCOL",
            "SASL_SSL",
        ),
        (
            "POSTHASTE__KAFKA__PROPERTIES__SASL__MECHANISM",
            "SCRAM-SHA-512",
        ),
    ])
    .expect("valid");
    let get = |name: &str| settings.kafka.properties.get(name).map(String::as_str);
    assert_eq!(get("security.protocol"), Some("SASL_SSL"));
    assert_eq!(get("sasl.mechanism"), Some("SCRAM-SHA-512"));
}

#[test]
fn a_property_given_twice_in_one_file_is_refused() {
    let faults =
        from_file("twice", "[kafka.properties]\n\"a.b\" = \"1\"\na.b = \"2\"").expect_err("twice");
    assert!(
        faults
            .concat()
            .contains("/kafka/properties/a.b: is given more than once"),
        "{faults:?}"
    );
}

#[test]
fn secrets_come_from_files_and_are_never_printed() {
    let secret = TempFile::new("secret", "hunter2\n");
    let path = secret.0.display().to_string();
    let variables = [
        (
            "POSTHASTE__KAFKA__PROPERTIES__SASL_PASSWORD_FILE",
            path.as_str(),
        ),
        ("POSTHASTE__KAFKA__PROPERTIES__SASL_USERNAME", "hunter3"),
    ];
    let settings = from_env(&variables).expect("valid");
    let properties = &settings.kafka.properties;
    assert_eq!(
        properties.get("sasl.password").map(String::as_str),
        Some("hunter2")
    );
    assert!(!properties.contains_key("sasl.password_file"));
    let shown = format!("{settings:?}");
    assert!(
        !shown.contains("hunter") && shown.contains("[redacted]"),
        "{shown}"
    );

    let both = [
        variables[0],
        ("POSTHASTE__KAFKA__PROPERTIES__SASL_PASSWORD", "x"),
    ];
    let faults = from_env(&both).expect_err("both").concat();
    assert!(faults.contains("`sasl.password` is set too"), "{faults}");
}

#[test]
fn a_later_source_replaces_the_file_of_a_secret() {
    let file = TempFile::new(
        "twin",
        "[kafka.properties]\nsasl.password_file = \"/nowhere\"",
    );
    let settings = load(&Sources {
        file: Some(file.0.clone()),
        env: pairs(&[("POSTHASTE__KAFKA__PROPERTIES__SASL_PASSWORD", "p")]),
        ..Sources::default()
    })
    .expect("the file is not read");
    assert_eq!(
        settings
            .kafka
            .properties
            .get("sasl.password")
            .map(String::as_str),
        Some("p")
    );
}
