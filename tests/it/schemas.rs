//! The schemas in the repository are those of the types.

use std::path::Path;

/// `UPDATE_SCHEMAS=1 cargo test schemas` writes the file anew.
#[test]
fn schemas_in_the_repository_are_those_of_the_types() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/destination.json");
    let schema = posthaste::config::schema::destination_schema(posthaste::sinks::schema());
    let text = serde_json::to_string_pretty(&schema).expect("JSON") + "\n";
    if std::env::var_os("UPDATE_SCHEMAS").is_some() {
        std::fs::write(&path, &text).expect("the repository can be written");
    }
    let pinned = std::fs::read_to_string(&path).expect("it was written once");
    assert!(
        pinned == text,
        "schemas/destination.json is not what the types say; run `UPDATE_SCHEMAS=1 cargo test schemas` and look at \
         the difference"
    );
}
