//! `/metrics`, read as a monitoring system would.

/// One scrape.
#[derive(Debug, Clone)]
pub(crate) struct Metrics(Vec<Sample>);

#[derive(Debug, Clone)]
struct Sample {
    name: String,
    labels: Vec<(String, String)>,
    value: f64,
}

impl Metrics {
    /// Reads the text format.
    pub(crate) fn parse(text: &str) -> Self {
        Self(
            text.lines()
                .filter(|line| !line.starts_with('#'))
                .filter_map(sample)
                .collect(),
        )
    }

    /// The sum of all series of that name which have these labels; 0 where there are none.
    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.0
            .iter()
            .filter(|sample| sample.name == name)
            .filter(|sample| {
                labels.iter().all(|(label, value)| {
                    sample
                        .labels
                        .iter()
                        .any(|(found, is)| found == label && is == value)
                })
            })
            .map(|sample| sample.value)
            .sum()
    }

    /// Whether there is any series of that name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|sample| sample.name == name)
    }
}

/// `name{label="value",…} 12`.
fn sample(line: &str) -> Option<Sample> {
    let (series, value) = line.rsplit_once(' ')?;
    let (name, labels) = match series.split_once('{') {
        Some((name, labels)) => (name, labels.strip_suffix('}')?),
        None => (series, ""),
    };
    let labels = labels
        .split("\",")
        .filter_map(|label| label.split_once("=\""))
        .map(|(label, value)| (label.to_owned(), value.trim_end_matches('"').to_owned()))
        .collect();
    Some(Sample {
        name: name.to_owned(),
        labels,
        value: value.parse().ok()?,
    })
}

#[test]
fn samples_are_summed_by_name_and_labels() {
    let text = "# HELP a text\na{x=\"1\",y=\"2\"} 3\na{x=\"1\",y=\"3\"} 4\na{x=\"2\"} 5\nb 6\n";
    let metrics = Metrics::parse(text);
    assert!((metrics.sum("a", &[("x", "1")]) - 7.0).abs() < f64::EPSILON);
    assert!((metrics.sum("a", &[]) - 12.0).abs() < f64::EPSILON);
    assert!((metrics.sum("b", &[]) - 6.0).abs() < f64::EPSILON);
    assert!(metrics.has("b") && !metrics.has("c"));
}
