use super::super::Dialect::Shopify;
use super::{refused, table};

#[test]
fn equality_is_exact_but_for_numbers_and_times() {
    table(
        Shopify,
        &[
            (
                "status:active",
                &[r#"{"status":"active"}"#, r#"{"status":["x","active"]}"#],
                &[
                    r#"{"status":"Active"}"#,
                    r#"{"status":"active "}"#,
                    "{}",
                    r#"{"status":null}"#,
                ],
            ),
            (
                "n:10",
                &[r#"{"n":10}"#, r#"{"n":"10.00"}"#, r#"{"n":10.0}"#],
                &[r#"{"n":"x"}"#, r#"{"n":11}"#],
            ),
            (
                "id:12345678901234567",
                &[r#"{"id":12345678901234567}"#],
                &[r#"{"id":12345678901234568}"#],
            ),
            (
                "taxable:true",
                &[r#"{"taxable":true}"#, r#"{"taxable":"true"}"#],
                &[r#"{"taxable":1}"#],
            ),
            (
                r#"title:"Two words""#,
                &[r#"{"title":"Two words"}"#],
                &[r#"{"title":"Two"}"#],
            ),
            (r"title:'It\'s'", &[r#"{"title":"It's"}"#], &[]),
            (r"a:x\:y\(\)\\", &[r#"{"a":"x:y()\\"}"#], &[]),
            (
                r#"at:"2026-01-31T08:00:00Z""#,
                &[r#"{"at":"2026-01-31T09:00:00+01:00"}"#],
                &[r#"{"at":"2026-01-31T09:00:00Z"}"#],
            ),
            (
                "tags:sale",
                &[
                    r#"{"tags":"new, sale"}"#,
                    r#"{"tags":" sale"}"#,
                    r#"{"tags":"sale"}"#,
                    r#"{"tags":["sale"]}"#,
                ],
                &[r#"{"tags":"wholesale"}"#],
            ),
        ],
    );
}

#[test]
fn comparators_read_numbers_in_texts_and_times() {
    table(
        Shopify,
        &[
            (
                "variants.price:>=10.00",
                &[
                    r#"{"variants":[{"price":"9"},{"price":"29.99"}]}"#,
                    r#"{"variants":{"price":10}}"#,
                ],
                &[r#"{"variants":[{"price":"9.99"}]}"#, r#"{"variants":[]}"#],
            ),
            (
                "n:>5 n:<=10",
                &[r#"{"n":"10"}"#],
                &[r#"{"n":5}"#, r#"{"n":11}"#],
            ),
            (
                "n:<-5",
                &[r#"{"n":-6}"#],
                &[r#"{"n":-5}"#, r#"{"n":"x"}"#, r#"{"n":true}"#],
            ),
            (
                r#"at:>"2026-01-31T08:00:00Z""#,
                &[r#"{"at":"2026-01-31T10:00:00+01:00"}"#],
                &[r#"{"at":"2026-01-31T09:00:00+01:00"}"#, r#"{"at":"soon"}"#],
            ),
            (
                "at:>=2026-01-31",
                &[r#"{"at":"2026-01-31T00:00:00Z"}"#],
                &[r#"{"at":"2026-01-30T23:59:59Z"}"#],
            ),
        ],
    );
}

#[test]
fn a_star_is_the_rest_of_a_text_or_any_value() {
    table(
        Shopify,
        &[
            (
                "title:Album*",
                &[r#"{"title":"Album one"}"#, r#"{"title":"Album"}"#],
                &[r#"{"title":"An Album"}"#],
            ),
            (r"title:a\*", &[r#"{"title":"a*"}"#], &[r#"{"title":"ab"}"#]),
            (
                "id:*",
                &[
                    r#"{"id":0}"#,
                    r#"{"id":""}"#,
                    r#"{"id":{}}"#,
                    r#"{"id":[null,1]}"#,
                ],
                &[r#"{"id":null}"#, "{}", r#"{"id":[]}"#],
            ),
            ("-gone:*", &["{}", r#"{"gone":null}"#], &[r#"{"gone":1}"#]),
        ],
    );
}

#[test]
fn or_binds_tighter_than_and() {
    table(
        Shopify,
        &[
            (
                "a:1 OR b:1 AND c:1",
                &[r#"{"a":1,"c":1}"#, r#"{"b":1,"c":1}"#],
                &[r#"{"a":1}"#],
            ),
            ("c:1 AND a:1 OR b:1", &[r#"{"b":1,"c":1}"#], &[r#"{"b":1}"#]),
            ("c:1 a:1 OR b:1", &[r#"{"b":1,"c":1}"#], &[r#"{"b":1}"#]),
            (
                "(a:1 AND b:1) OR c:1",
                &[r#"{"c":1}"#, r#"{"a":1,"b":1}"#],
                &[r#"{"a":1}"#],
            ),
            ("a:1 -(b:1 OR c:1)", &[r#"{"a":1}"#], &[r#"{"a":1,"c":1}"#]),
            (
                "NOT a:1 OR b:1",
                &["{}", r#"{"a":1,"b":1}"#],
                &[r#"{"a":1}"#],
            ),
            ("NOT (a:1)", &["{}"], &[r#"{"a":1}"#]),
            ("NOTE:1 ORDER:2", &[r#"{"NOTE":1,"ORDER":2}"#], &["{}"]),
        ],
    );
}

#[test]
fn each_condition_finds_its_own_element() {
    table(
        Shopify,
        &[
            (
                "v.a:1 v.b:2",
                &[r#"{"v":[{"a":1},{"b":2}]}"#],
                &[r#"{"v":[{"a":1}]}"#],
            ),
            (
                "line_items.properties.name:_x",
                &[
                    r#"{"line_items":[{"properties":[]},{"properties":[{"name":"y"},{"name":"_x"}]}]}"#,
                ],
                &[],
            ),
            (
                "-v.a:1",
                &[r#"{"v":[{"a":2}]}"#, "{}"],
                &[r#"{"v":[{"a":2},{"a":1}]}"#],
            ),
        ],
    );
}

#[test]
fn the_documented_example_works() {
    table(
        Shopify,
        &[(
            "id:* AND status:active AND (product_type:Music OR product_type:Movies) AND -invalid_field:* AND variants.taxable:true AND variants.weight:<5 AND variants.price:>=100 AND variants.title:Album*",
            &[
                r#"{"id":1,"status":"active","product_type":"Movies","variants":[{"taxable":true,"weight":4.5,"price":"100.00","title":"Albums"}]}"#,
            ],
            &[
                r#"{"id":1,"status":"active","product_type":"Books","variants":[{"taxable":true,"weight":4.5,"price":"100.00","title":"Albums"}]}"#,
            ],
        )],
    );
}

#[test]
fn what_is_no_search_says_at_which_column_and_why() {
    refused(
        Shopify,
        &[
            ("", "1", "found the end"),
            ("banana", "1", "names no field"),
            ("a:1 or b:2", "5", "small letters"),
            ("a:1 AND", "8", "found the end"),
            ("AND a:1", "1", "a condition is expected, found AND"),
            ("a:1 AND OR b:1", "9", "found OR"),
            ("a:", "3", "a value is expected"),
            ("a: b", "3", "directly behind"),
            ("a:>", "4", "directly behind `:>`"),
            (":x", "1", "a name is empty"),
            ("a..b:x", "1", "a name is empty"),
            ("a:b:c", "4", "`:` within a value"),
            ("(a:1", "1", "without `)`"),
            ("a:1)", "4", "without `(`"),
            ("a:\"x", "3", "not closed"),
            ("a:\"x\"y", "6", "blank is expected"),
            ("a:x*y", "4", "end of a value only"),
            ("a:>1*", "1", "does not go with `>`"),
            ("- a:1", "1", "no blank"),
            ("--a:1", "2", "negated once"),
            ("a:x\\", "4", "backslash at the end"),
            ("()", "2", "a field is expected"),
            ("\"x\"", "1", "a field is expected"),
        ],
    );
}
