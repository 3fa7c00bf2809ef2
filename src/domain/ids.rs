//! Names of tenants and destinations, checked once where they enter.

use std::fmt;
use std::sync::Arc;

use serde::Deserialize;

/// A name that does not have the allowed form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} `{found}` is not of the form {allowed}")]
pub struct InvalidName {
    what: &'static str,
    found: String,
    allowed: &'static str,
}

/// Returns `name` cut to what an error message should show of it.
fn shown(name: &str) -> String {
    name.chars().take(80).collect()
}

/// Names the owner of destinations: `[a-z0-9_-]{1,64}`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TenantId(Arc<str>);

impl TenantId {
    /// The form that a tenant's name has, for messages and schemas.
    pub const FORM: &'static str = "[a-z0-9_-]{1,64}";

    /// Checks `name`.
    ///
    /// # Errors
    /// If it is not of the form `[a-z0-9_-]{1,64}`.
    pub fn new(name: &str) -> Result<Self, InvalidName> {
        let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-';
        if (1..=64).contains(&name.len()) && name.bytes().all(fits) {
            Ok(Self(name.into()))
        } else {
            Err(InvalidName {
                what: "tenant",
                found: shown(name),
                allowed: Self::FORM,
            })
        }
    }

    /// The tenant of everything that names none.
    #[must_use]
    pub fn default_tenant() -> Self {
        Self("default".into())
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for TenantId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Self::new(&name).map_err(serde::de::Error::custom)
    }
}

/// Names one destination: `tenant/id`, the key of its records in `destinations`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DestinationId {
    full: Arc<str>,
    tenant_bytes: usize,
}

impl DestinationId {
    /// The form of the part after the slash, for messages and schemas.
    pub const FORM: &'static str = "[A-Za-z0-9_-]{1,64}";

    /// Joins a tenant and the destination's own name.
    ///
    /// # Errors
    /// If `id` is not of the form `[A-Za-z0-9_-]{1,64}`.
    pub fn new(tenant: &TenantId, id: &str) -> Result<Self, InvalidName> {
        let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
        if (1..=64).contains(&id.len()) && id.bytes().all(fits) {
            Ok(Self {
                full: format!("{tenant}/{id}").into(),
                tenant_bytes: tenant.as_str().len(),
            })
        } else {
            Err(InvalidName {
                what: "destination id",
                found: shown(id),
                allowed: Self::FORM,
            })
        }
    }

    /// Reads `tenant/id`, or `id` alone for the tenant `default`.
    ///
    /// # Errors
    /// If either part does not have its form.
    pub fn parse(name: &str) -> Result<Self, InvalidName> {
        match name.split_once('/') {
            Some((tenant, id)) => Self::new(&TenantId::new(tenant)?, id),
            None => Self::new(&TenantId::default_tenant(), name),
        }
    }

    /// `tenant/id`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.full
    }

    /// The part before the slash.
    #[must_use]
    pub fn tenant(&self) -> &str {
        self.full.get(..self.tenant_bytes).unwrap_or_default()
    }

    /// The part after the slash.
    #[must_use]
    pub fn id(&self) -> &str {
        self.full.get(self.tenant_bytes + 1..).unwrap_or_default()
    }
}

impl fmt::Display for DestinationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.full)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_where_they_enter() {
        let id = DestinationId::parse("acme/Orders-1").expect("valid");
        assert_eq!(
            (id.tenant(), id.id(), id.as_str()),
            ("acme", "Orders-1", "acme/Orders-1")
        );
        assert_eq!(
            DestinationId::parse("orders").expect("valid").as_str(),
            "default/orders"
        );
        for bad in [
            "",
            "/",
            "a/",
            "/a",
            "A/b",
            "a/b/c",
            "a/b c",
            "a/é",
            &"x".repeat(65),
        ] {
            assert!(DestinationId::parse(bad).is_err(), "{bad}");
        }
    }
}
