//! Reads a JSON object field by field and collects all mistakes in it, each with its JSON pointer.

use std::cell::RefCell;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value};

use crate::config::faults::Fault;
use crate::config::settings::Settings;
use crate::domain::units::Span;

/// How long an attempt takes at most where the document says nothing, unless the settings allow less.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Time limits below this one are mistakes of unit.
const TIMEOUT_MIN: Duration = Duration::from_millis(100);

/// The mistakes found so far.
#[derive(Debug, Default)]
pub(super) struct Faults(RefCell<Vec<Fault>>);

impl Faults {
    pub(super) fn add(&self, pointer: String, message: impl Into<String>) {
        self.0.borrow_mut().push(Fault::new(pointer, message));
    }

    pub(super) fn into_vec(self) -> Vec<Fault> {
        self.0.into_inner()
    }
}

/// Reads the object `sink` of a destination with `read`.
///
/// # Errors
/// All mistakes in it, with pointers below `/sink`.
pub(super) fn read_sink<T>(
    sink: &Value,
    read: impl FnOnce(Fields<'_>, &Faults) -> Option<T>,
) -> Result<T, Vec<Fault>> {
    let faults = Faults::default();
    let found = Fields::open("/sink".to_owned(), sink, &faults);
    let found = found.and_then(|fields| read(fields, &faults));
    let faults = faults.into_vec();
    match found {
        Some(found) if faults.is_empty() => Ok(found),
        _ => Err(faults),
    }
}

/// One object that is being read. A null counts as an absent field.
#[derive(Debug)]
pub(super) struct Fields<'a> {
    pointer: String,
    object: &'a Map<String, Value>,
    known: Vec<&'static str>,
    faults: &'a Faults,
}

impl<'a> Fields<'a> {
    /// Begins with the object at `pointer`; anything else is a fault.
    pub(super) fn open(pointer: String, value: &'a Value, faults: &'a Faults) -> Option<Self> {
        let Value::Object(object) = value else {
            faults.add(pointer, "must be an object");
            return None;
        };
        Some(Self {
            pointer,
            object,
            known: Vec::new(),
            faults,
        })
    }

    /// Ends: every field that was not asked for is a fault.
    pub(super) fn close(self) {
        for name in self.object.keys() {
            if !self.known.contains(&name.as_str()) {
                let known: Vec<String> =
                    self.known.iter().map(|name| format!("`{name}`")).collect();
                let message = if known.is_empty() {
                    "is not known; nothing may stand here".to_owned()
                } else {
                    format!("is not known; known here are {}", known.join(", "))
                };
                self.fault(name, message);
            }
        }
    }

    /// The pointer to a field.
    pub(super) fn at(&self, name: &str) -> String {
        format!(
            "{}/{}",
            self.pointer,
            name.replace('~', "~0").replace('/', "~1")
        )
    }

    /// Notes a mistake in the field `name`.
    pub(super) fn fault(&self, name: &str, message: impl Into<String>) {
        self.faults.add(self.at(name), message);
    }

    /// Notes a mistake at a pointer below the object.
    pub(super) fn fault_at(&self, pointer: String, message: impl Into<String>) {
        self.faults.add(pointer, message);
    }

    /// Notes a mistake in the object as a whole.
    pub(super) fn fault_here(&self, message: impl Into<String>) {
        self.faults.add(self.pointer.clone(), message);
    }

    /// Whether the field is there.
    pub(super) fn has(&self, name: &str) -> bool {
        self.object.get(name).is_some_and(|value| !value.is_null())
    }

    /// A field's value.
    pub(super) fn value(&mut self, name: &'static str) -> Option<&'a Value> {
        self.known.push(name);
        self.object.get(name).filter(|value| !value.is_null())
    }

    /// A field that is a string.
    pub(super) fn text(&mut self, name: &'static str) -> Option<&'a str> {
        match self.value(name)? {
            Value::String(text) => Some(text),
            _ => {
                self.fault(name, "must be a string");
                None
            }
        }
    }

    /// A string that must be there.
    pub(super) fn required_text(&mut self, name: &'static str) -> Option<&'a str> {
        if !self.has(name) {
            self.fault(name, "is missing");
        }
        self.text(name)
    }

    /// A field that is true or false.
    pub(super) fn flag(&mut self, name: &'static str) -> Option<bool> {
        match self.value(name)? {
            Value::Bool(flag) => Some(*flag),
            _ => {
                self.fault(name, "must be `true` or `false`");
                None
            }
        }
    }

    /// The field `timeout`: how long an attempt takes at most.
    pub(super) fn timeout(&mut self, settings: &Settings) -> Duration {
        let max = settings.webhook.timeout_max;
        let Some(text) = self.text("timeout") else {
            return TIMEOUT.min(max.0);
        };
        match text.parse::<Span>() {
            Ok(span) if (TIMEOUT_MIN..=max.0).contains(&span.0) => return span.0,
            Ok(span) => self.fault(
                "timeout",
                format!(
                    "`{span}` is not between {} and {max} (setting webhook.timeout_max)",
                    Span(TIMEOUT_MIN)
                ),
            ),
            Err(invalid) => self.fault("timeout", invalid.to_string()),
        }
        TIMEOUT
    }

    /// A field that is an object.
    pub(super) fn object(&mut self, name: &'static str) -> Option<Fields<'a>> {
        let value = self.value(name)?;
        Fields::open(self.at(name), value, self.faults)
    }

    /// A field that is an array, with the pointer to each element.
    pub(super) fn array(&mut self, name: &'static str) -> Option<Vec<(String, &'a Value)>> {
        let Value::Array(elements) = self.value(name)? else {
            self.fault(name, "must be an array");
            return None;
        };
        let at = self.at(name);
        let elements = elements.iter().enumerate();
        Some(
            elements
                .map(|(position, value)| (format!("{at}/{position}"), value))
                .collect(),
        )
    }

    /// All entries of an object whose names are free; the values are strings.
    pub(super) fn entries(self) -> Vec<(String, &'a str, &'a str)> {
        let mut entries = Vec::with_capacity(self.object.len());
        for (name, value) in self.object {
            match value {
                Value::String(text) => entries.push((self.at(name), name.as_str(), text.as_str())),
                _ => self.fault(name, "must be a string"),
            }
        }
        entries
    }
}

/// The schema of the field `timeout`.
pub(super) fn timeout_schema() -> Schema {
    let span = Span::json_schema(&mut SchemaGenerator::default());
    json_schema!({
        "description": "How long an attempt takes at most, its answer included; bounded by the setting webhook.timeout_max.",
        "anyOf": [span, {"type": "null"}],
        "default": "20s"
    })
}
