//! JSON Schemas of the documents that people write, generated from the types that read them.

use schemars::Schema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};

use super::destination::Document;

/// The schema of a destination's document (JSON Schema 2020-12), with `sink` as the schema of its object `sink`.
/// Definitions in `sink` are moved to the root, where its references look for them.
#[must_use]
pub fn destination_schema(sink: Schema) -> Value {
    let generator = SchemaSettings::draft2020_12().into_generator();
    let mut root = generator.into_root_schema_for::<Document>().to_value();
    let Value::Object(mut sink) = sink.to_value() else {
        return root;
    };
    sink.remove("$schema");
    if let Some(Value::Object(definitions)) = sink.remove("$defs") {
        let all = root.as_object_mut().map(|root| {
            root.entry("$defs")
                .or_insert_with(|| Value::Object(Map::new()))
        });
        if let Some(Value::Object(all)) = all {
            all.extend(definitions);
        }
    }
    if let Some(place) = root.pointer_mut("/properties/sink") {
        let about = place.get("description").cloned();
        if let Some(about) = about {
            sink.entry("description").or_insert(about);
        }
        *place = Value::Object(sink);
    }
    root
}

#[cfg(test)]
mod tests {
    use schemars::json_schema;
    use serde_json::json;

    use super::*;

    #[test]
    fn definitions_of_the_sink_move_to_the_root() {
        let sink = json_schema!({
            "$schema": "x",
            "properties": {"timeout": {"$ref": "#/$defs/SinkTimeout"}},
            "$defs": {"SinkTimeout": {"type": "string"}}
        });
        let schema = destination_schema(sink);
        assert_eq!(
            schema.pointer("/$defs/SinkTimeout"),
            Some(&json!({"type": "string"}))
        );
        assert!(
            schema.pointer("/$defs/Duration").is_some(),
            "those of the document stay"
        );
        assert_eq!(schema.pointer("/properties/sink/$schema"), None);
        assert_eq!(schema.pointer("/properties/sink/$defs"), None);
    }

    #[test]
    fn every_field_is_described() {
        fn walk(schema: &Value, at: &str) {
            let members = schema.get("properties").and_then(Value::as_object);
            for (name, member) in members.into_iter().flatten() {
                assert!(member.get("description").is_some(), "{at}/{name}");
                walk(member, &format!("{at}/{name}"));
            }
        }
        let schema = destination_schema(json_schema!({"type": "object"}));
        walk(&schema, "");
        let definitions = schema.get("$defs").and_then(Value::as_object);
        for (name, definition) in definitions.into_iter().flatten() {
            walk(definition, name);
        }
    }
}
