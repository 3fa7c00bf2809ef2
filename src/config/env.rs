//! The environment's part of the settings. Nothing else reads the environment.

use super::properties;

const PREFIX: &str = "POSTHASTE__";

/// The variables that are settings: their names start with `POSTHASTE__`, in any case.
/// Bytes that are not UTF-8 become U+FFFD, by which [`super::load`] refuses the variable.
#[must_use]
pub fn variables() -> Vec<(String, String)> {
    std::env::vars_os()
        .map(|(name, value)| {
            let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
            (text(name), text(value))
        })
        .filter(|(name, _)| rest(name).is_some())
        .collect()
}

/// The keys that lead to the setting that the variable `name` sets; `None`: it sets none.
pub(super) fn path(name: &str) -> Option<Vec<String>> {
    let lower = rest(name)?.to_ascii_lowercase();
    let parts: Vec<&str> = lower.split("__").collect();
    Some(match parts.as_slice() {
        ["kafka", "properties", names @ ..] if !names.is_empty() => {
            let name = properties::from_environment(&names.join("."));
            vec!["kafka".to_owned(), "properties".to_owned(), name]
        }
        _ => parts.into_iter().map(str::to_owned).collect(),
    })
}

fn rest(name: &str) -> Option<&str> {
    let (start, rest) = name.split_at_checked(PREFIX.len())?;
    start.eq_ignore_ascii_case(PREFIX).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_to_settings() {
        for (name, keys) in [
            ("POSTHASTE__KAFKA__BROKERS", Some("kafka/brokers")),
            (
                "posthaste__dispatch__backlog_share",
                Some("dispatch/backlog_share"),
            ),
            (
                "POSTHASTE__KAFKA__PROPERTIES__SASL_PASSWORD",
                Some("kafka/properties/sasl.password"),
            ),
            ("POSTHASTE__SOURCES", Some("sources")),
            ("POSTHASTE_LOG", None),
            ("POSTHASTÉ__KAFKA", None),
            ("PATH", None),
        ] {
            assert_eq!(
                path(name).map(|keys| keys.join("/")).as_deref(),
                keys,
                "{name}"
            );
        }
    }
}
