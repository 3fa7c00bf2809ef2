//! How metrics are declared and registered: the tools of the catalogue in [`super`].
//!
//! A metric with labels is one child for each label value, each registered by itself with the value as a constant
//! label; the registry joins them under their name. So a child is a plain counter, and no look-up is left.

use std::collections::HashMap;
use std::marker::PhantomData;
use std::sync::Arc;

use prometheus::core::Collector;
use prometheus::{Counter, Gauge, Histogram, HistogramOpts, IntCounter, IntGauge, Opts, Registry};

/// A label with a closed set of values.
pub trait Label: Copy + 'static {
    /// The label's name.
    const NAME: &'static str;
    /// All values, each at its index.
    const VALUES: &'static [Self];
    /// The value's place in [`Self::VALUES`].
    fn index(self) -> usize;
    /// The value as it is exported.
    fn text(self) -> &'static str;
}

/// Makes an enum a [`Label`]; the values must stand in the order of the enum.
macro_rules! label {
    ($type:ident, $name:literal { $($value:ident => $text:literal,)+ }) => {
        impl Label for $type {
            const NAME: &'static str = $name;
            const VALUES: &'static [Self] = &[$(Self::$value),+];

            fn index(self) -> usize {
                self as usize
            }

            fn text(self) -> &'static str {
                match self {
                    $(Self::$value => $text),+
                }
            }
        }
    };
}
pub(super) use label;

/// Declares a group of metrics: a field's comment is its HELP text, its string is its name.
macro_rules! metrics {
    (
        $(#[doc = $doc:literal])+
        $vis:vis struct $group:ident {
            $(
                $(#[doc = $help:literal])+
                $field:ident: $kind:ty = $name:literal $(in $buckets:expr)?;
            )+
        }
    ) => {
        $(#[doc = $doc])+
        #[derive(Debug, Clone)]
        $vis struct $group {
            $(
                $(#[doc = $help])+
                #[doc = concat!("\n\n`", $name, "`")]
                pub $field: $kind,
            )+
        }

        impl $group {
            fn register(scope: &$crate::telemetry::metrics::family::Scope<'_>) -> Self {
                use $crate::telemetry::metrics::family::{Metric, Spec};
                Self {
                    $(
                        $field: <$kind as Metric>::register(scope, &Spec {
                            name: $name,
                            help: concat!($($help),+).trim(),
                            buckets: {
                                let _none: &'static [f64] = &[];
                                $(let _none = $buckets;)?
                                _none
                            },
                        }),
                    )+
                }
            }
        }
    };
}
pub(super) use metrics;

/// Where metrics are registered, and the labels that all of them get there.
#[derive(Debug, Clone)]
pub(super) struct Scope<'a> {
    registry: &'a Registry,
    labels: HashMap<String, String>,
}

impl<'a> Scope<'a> {
    /// Without labels.
    pub(super) fn new(registry: &'a Registry) -> Self {
        Self {
            registry,
            labels: HashMap::new(),
        }
    }

    /// With one label more.
    pub(super) fn with(&self, label: &str, value: &str) -> Self {
        let mut scope = self.clone();
        scope.labels.insert(label.to_owned(), value.to_owned());
        scope
    }

    fn opts(&self, spec: &Spec) -> Opts {
        Opts::new(spec.name, spec.help).const_labels(self.labels.clone())
    }

    fn add<C: Collector + Clone + 'static>(&self, made: prometheus::Result<C>) -> C {
        let collector = made.expect("names and labels are constants that a test registers");
        self.registry
            .register(Box::new(collector.clone()))
            .expect("a name stands once in the catalogue, a label value once in its set");
        collector
    }
}

/// What the catalogue says of one metric.
#[derive(Debug)]
pub(super) struct Spec {
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    /// Upper bounds, for histograms.
    pub(super) buckets: &'static [f64],
}

/// What can stand in the catalogue.
pub(super) trait Metric {
    /// Makes it with all its children.
    fn register(scope: &Scope<'_>, spec: &Spec) -> Self;
}

impl Metric for IntCounter {
    fn register(scope: &Scope<'_>, spec: &Spec) -> Self {
        scope.add(Self::with_opts(scope.opts(spec)))
    }
}

impl Metric for Counter {
    fn register(scope: &Scope<'_>, spec: &Spec) -> Self {
        scope.add(Self::with_opts(scope.opts(spec)))
    }
}

impl Metric for IntGauge {
    fn register(scope: &Scope<'_>, spec: &Spec) -> Self {
        scope.add(Self::with_opts(scope.opts(spec)))
    }
}

impl Metric for Gauge {
    fn register(scope: &Scope<'_>, spec: &Spec) -> Self {
        scope.add(Self::with_opts(scope.opts(spec)))
    }
}

impl Metric for Histogram {
    fn register(scope: &Scope<'_>, spec: &Spec) -> Self {
        let opts = HistogramOpts::from(scope.opts(spec)).buckets(spec.buckets.to_vec());
        scope.add(Self::with_opts(opts))
    }
}

/// One metric, or group of metrics, for each value of a closed label.
pub struct By<L, M> {
    children: Arc<[M]>,
    label: PhantomData<fn(L)>,
}

impl<L: Label, M> By<L, M> {
    /// Makes every child.
    pub(super) fn new(scope: &Scope<'_>, child: impl Fn(&Scope<'_>) -> M) -> Self {
        Self {
            children: L::VALUES
                .iter()
                .map(|value| child(&scope.with(L::NAME, value.text())))
                .collect(),
            label: PhantomData,
        }
    }

    /// The child of `value`.
    #[must_use]
    pub fn get(&self, value: L) -> &M {
        self.children
            .get(value.index())
            .expect("there is a child for every value")
    }
}

impl<L: Label, M: Metric> Metric for By<L, M> {
    fn register(scope: &Scope<'_>, spec: &Spec) -> Self {
        Self::new(scope, |scope| M::register(scope, spec))
    }
}

impl<L, M> Clone for By<L, M> {
    fn clone(&self) -> Self {
        Self {
            children: Arc::clone(&self.children),
            label: PhantomData,
        }
    }
}

impl<L: Label, M: std::fmt::Debug> std::fmt::Debug for By<L, M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let values = L::VALUES.iter().map(|value| value.text());
        f.debug_map()
            .entries(values.zip(self.children.iter()))
            .finish()
    }
}

/// One group of metrics for each of the names that are known when the process starts.
#[derive(Debug, Clone)]
pub struct Named<M> {
    children: Arc<[(Box<str>, M)]>,
    /// For a name outside the set: counts, and is exported nowhere.
    unknown: Arc<M>,
}

impl<M> Named<M> {
    /// Makes every child.
    pub(super) fn new(
        scope: &Scope<'_>,
        label: &str,
        names: &[&str],
        child: impl Fn(&Scope<'_>) -> M,
    ) -> Self {
        Self {
            children: names
                .iter()
                .map(|name| ((*name).into(), child(&scope.with(label, name))))
                .collect(),
            unknown: Arc::new(child(&Scope::new(&Registry::new()))),
        }
    }

    /// The child of `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> &M {
        self.children
            .iter()
            .find(|(known, _)| **known == *name)
            .map_or(&self.unknown, |(_, child)| child)
    }

    /// The child at `index` of the set.
    #[must_use]
    pub fn at(&self, index: usize) -> &M {
        self.children
            .get(index)
            .map_or(&self.unknown, |(_, child)| child)
    }
}
