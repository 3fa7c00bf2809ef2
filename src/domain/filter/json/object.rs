//! Objects that are put together instead of parsed: what an event is beside its body.

use std::borrow::Cow;

use super::{Document, Kind, Node};

/// An object to which members are added.
#[derive(Debug)]
pub struct Object<'t> {
    nodes: Vec<Node<'t>>,
}

impl<'t> Object<'t> {
    /// One without members.
    #[must_use]
    pub fn new() -> Self {
        let root = Node {
            name: None,
            kind: Kind::Object,
            end: 1,
        };
        Self { nodes: vec![root] }
    }

    /// Adds a member without anything inside.
    pub fn scalar(&mut self, name: impl Into<Cow<'t, str>>, value: Kind<'t>) {
        let node = Node {
            name: None,
            kind: value,
            end: 1,
        };
        self.append(name.into(), std::iter::once(node));
    }

    /// Adds a copy of a whole document.
    pub fn document(&mut self, name: &'t str, value: &Document<'t>) {
        self.append(name.into(), value.nodes.iter().cloned());
    }

    /// Adds an object.
    pub fn object(&mut self, name: &'t str, value: Object<'t>) {
        self.append(name.into(), value.nodes.into_iter());
    }

    fn append(&mut self, name: Cow<'t, str>, nodes: impl Iterator<Item = Node<'t>>) {
        let at = self.nodes.len();
        self.nodes.extend(nodes.map(|mut node| {
            node.end += at;
            node
        }));
        let end = self.nodes.len();
        if let Some(added) = self.nodes.get_mut(at) {
            added.name = Some(name);
        }
        if let Some(root) = self.nodes.first_mut() {
            root.end = end;
        }
    }

    /// The object as a document.
    #[must_use]
    pub fn into_document(self) -> Document<'t> {
        Document { nodes: self.nodes }
    }
}

impl Default for Object<'_> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_together_is_what_would_be_parsed() {
        let data = br#"{"a": [1.50, {"b": "\u00e9"}], "a": {}}"#;
        let data = Document::parse(data).expect("JSON");
        let mut inner = Object::new();
        inner.scalar("x", Kind::Text("1".into()));
        inner.scalar("x", Kind::Null);
        let mut object = Object::new();
        object.object("headers", inner);
        object.object("none", Object::default());
        object.document("data", &data);
        object.scalar("last", Kind::Bool(true));
        let built = object.into_document();
        let text = built.root().to_string();
        assert_eq!(
            text,
            r#"{"headers":{"x":"1","x":null},"none":{},"data":{"a":[1.50,{"b":"é"}],"a":{}},"last":true}"#
        );
        let parsed = Document::parse(text.as_bytes()).expect("JSON");
        let sizes = |document: &Document<'_>| -> Vec<usize> {
            document.nodes.iter().map(|node| node.end).collect()
        };
        assert_eq!(sizes(&built), sizes(&parsed));
        let found = built
            .root()
            .member("data")
            .and_then(|data| data.member("a"));
        assert_eq!(found.map(|a| a.to_string()).as_deref(), Some("{}"));
    }
}
