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
                r#"a:"x:y()*""#,
                &[r#"{"a":"x:y()*"}"#],
                &[r#"{"a":"x:y()z"}"#],
            ),
            (r#"a:"say \"x\"""#, &[r#"{"a":"say \"x\""}"#], &[]),
            (r"a\:b:1", &[r#"{"a:b":1}"#], &[r#"{"a":1}"#]),
            ("a:it's", &[r#"{"a":"it's"}"#], &[]),
            (r#"a:"""#, &[r#"{"a":""}"#], &[r#"{"a":null}"#, "{}"]),
            ("a:null", &[r#"{"a":"null"}"#], &[r#"{"a":null}"#, "{}"]),
            ("Status:x", &[r#"{"Status":"x"}"#], &[r#"{"status":"x"}"#]),
            (
                "n:-1.50",
                &[r#"{"n":-1.5}"#, r#"{"n":"-1.5"}"#],
                &[r#"{"n":1.5}"#],
            ),
            ("n:1e1", &[r#"{"n":10}"#], &[r#"{"n":"1e"}"#]),
            ("n:10x", &[r#"{"n":"10x"}"#], &[r#"{"n":10}"#]),
            ("  a:1\n\tAND  b:2 ", &[r#"{"a":1,"b":2}"#], &[r#"{"a":1}"#]),
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
            (
                r#"at:>="2026-01-01T00:00:00Z" at:<'2026-02-01T00:00:00Z'"#,
                &[r#"{"at":"2026-01-31T23:59:59.999Z"}"#],
                &[
                    r#"{"at":"2026-02-01T00:00:00Z"}"#,
                    r#"{"at":"2026-01-01T00:00:00+00:01"}"#,
                ],
            ),
            (r#"n:>="5""#, &[r#"{"n":5}"#], &[r#"{"n":4}"#]),
            // What is neither a number nor a time is in no range, so its negation always is.
            ("n:>x", &[], &[r#"{"n":"y"}"#, r#"{"n":1}"#, "{}"]),
            ("-n:>x", &[r#"{"n":"y"}"#, "{}"], &[]),
            (
                "n:>5",
                &[r#"{"n":["x",6]}"#],
                &[r#"{"n":[1,"x"]}"#, r#"{"n":{"a":6}}"#],
            ),
            (
                "n:>12345678901234567",
                &[r#"{"n":12345678901234568}"#],
                &[r#"{"n":12345678901234567}"#],
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
            ("n:1*", &[r#"{"n":10}"#, r#"{"n":"1x"}"#], &[r#"{"n":21}"#]),
            (
                "tags:sa*",
                &[r#"{"tags":"new, sale"}"#],
                &[r#"{"tags":"new, resale"}"#],
            ),
            (r"a:x\\*", &[r#"{"a":"x\\y"}"#], &[r#"{"a":"xy"}"#]),
            (
                "a.b:*",
                &[r#"{"a":[{"b":null},{"b":[1]}]}"#, r#"{"a":{"b":false}}"#],
                &[r#"{"a":[{"b":null},{"c":1}]}"#, r#"{"a":1}"#],
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
            (
                "a:1 AND b:1 OR c:1 AND d:1",
                &[r#"{"a":1,"b":1,"d":1}"#, r#"{"a":1,"c":1,"d":1}"#],
                &[r#"{"a":1,"b":1}"#, r#"{"c":1,"d":1}"#],
            ),
            (
                "a:1 OR b:1 OR c:1 d:1",
                &[r#"{"c":1,"d":1}"#],
                &[r#"{"a":1}"#, r#"{"d":1}"#],
            ),
            ("a:1 OR -b:1", &["{}", r#"{"a":1,"b":1}"#], &[r#"{"b":1}"#]),
            ("a:1 NOT b:1", &[r#"{"a":1}"#], &["{}", r#"{"a":1,"b":1}"#]),
            ("-(a:1 b:1)", &[r#"{"a":1}"#], &[r#"{"a":1,"b":1}"#]),
            ("NOT (-a:1)", &[r#"{"a":1}"#], &["{}"]),
            (
                "((a:1) OR (b:1)) c:1",
                &[r#"{"b":1,"c":1}"#],
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
                "a.b.c:1",
                &[r#"{"a":[[{"b":{"c":0}}],[{"b":[{"c":1}]}]]}"#],
                &[r#"{"a":{"b":1,"c":1}}"#],
            ),
            (
                "-v.a:1 v.b:2",
                &[r#"{"v":[{"b":2}]}"#],
                &[r#"{"v":[{"a":1},{"b":2}]}"#],
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
            ("  ", "3", "found the end"),
            ("not a:1", "1", "write NOT"),
            ("a:1 OR", "7", "found the end"),
            ("a:1 NOT", "8", "found the end"),
            ("NOT NOT a:1", "5", "negated once"),
            ("NOT -a:1", "5", "negated once"),
            ("-NOT a:1", "2", "negated once"),
            ("-", "1", "no blank"),
            ("a :1", "1", "names no field"),
            ("a:1 banana", "5", "names no field"),
            ("é:1 banana", "5", "names no field"),
            ("a:(1)", "3", "`(` within a value"),
            ("a:*x", "3", "end of a value only"),
            ("a:**", "3", "end of a value only"),
            ("a:[1 TO 5]", "6", "names no field"),
            ("a:\"x\"*", "6", "blank is expected"),
            ("a.:1", "1", "a name is empty"),
            ("a:'x\"", "3", "not closed"),
            ("a:\"x\\", "5", "backslash at the end"),
            ("(a:1))", "6", "without `(`"),
            ("a:1 OR )", "8", "a field is expected"),
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
