use super::super::Dialect::EventBridge;
use super::{matches, refused, table};

#[test]
fn values_are_compared_with_their_types() {
    table(
        EventBridge,
        &[
            (
                r#"{"a":[300]}"#,
                &[
                    r#"{"a":300}"#,
                    r#"{"a":300.0}"#,
                    r#"{"a":3e2}"#,
                    r#"{"a":["x",300]}"#,
                ],
                &[r#"{"a":"300"}"#, "{}"],
            ),
            (r#"{"a":["300"]}"#, &[r#"{"a":"300"}"#], &[r#"{"a":300}"#]),
            (
                r#"{"a":[null]}"#,
                &[r#"{"a":null}"#, r#"{"a":[null]}"#],
                &["{}", r#"{"a":"null"}"#, r#"{"a":[]}"#, r#"{"a":""}"#],
            ),
            (r#"{"a":[""]}"#, &[r#"{"a":""}"#], &[r#"{"a":null}"#, "{}"]),
            (
                r#"{"a":[true]}"#,
                &[r#"{"a":true}"#],
                &[r#"{"a":"true"}"#, r#"{"a":1}"#],
            ),
            (
                r#"{"a":["x",1]}"#,
                &[r#"{"a":"x"}"#, r#"{"a":1}"#],
                &[r#"{"a":"y"}"#],
            ),
            (r#"{"a":["é\n"]}"#, &[r#"{"a":"\u00e9\n"}"#], &[]),
            (r#"{"a":[0]}"#, &[r#"{"a":-0}"#, r#"{"a":-0.0}"#], &[]),
            (
                r#"{"a":[12345678901234567890]}"#,
                &[r#"{"a":12345678901234567890}"#],
                &[r#"{"a":12345678901234567891}"#],
            ),
            (
                r#"{"a":[{"exactly":"x"}]}"#,
                &[r#"{"a":"x"}"#],
                &[r#"{"a":"X"}"#],
            ),
        ],
    );
}

#[test]
fn null_is_a_value_and_an_empty_list_is_none() {
    table(
        EventBridge,
        &[
            (
                r#"{"a":[{"exists":true}]}"#,
                &[
                    r#"{"a":1}"#,
                    r#"{"a":null}"#,
                    r#"{"a":[null]}"#,
                    r#"{"a":[1]}"#,
                ],
                &[
                    r#"{"a":[]}"#,
                    r#"{"a":{}}"#,
                    r#"{"a":{"b":1}}"#,
                    r#"{"a":[{"b":1}]}"#,
                    "{}",
                ],
            ),
            (
                r#"{"a":[{"exists":false}]}"#,
                &["{}", r#"{"a":[]}"#, r#"{"a":[{}]}"#, r#"{"a":{"b":1}}"#],
                &[r#"{"a":1}"#, r#"{"a":null}"#],
            ),
            (
                r#"{"a":[{"exists":false},"x"]}"#,
                &["{}", r#"{"a":"x"}"#],
                &[r#"{"a":"y"}"#, r#"{"a":["y"]}"#],
            ),
            (
                r#"{"a":[{"anything-but":"x"}]}"#,
                &[
                    r#"{"a":"y"}"#,
                    r#"{"a":null}"#,
                    r#"{"a":5}"#,
                    r#"{"a":true}"#,
                    r#"{"a":["x","y"]}"#,
                ],
                &[r#"{"a":"x"}"#, r#"{"a":["x","x"]}"#, "{}", r#"{"a":[]}"#],
            ),
            (
                r#"{"a":[{"anything-but":5}]}"#,
                &[r#"{"a":6}"#, r#"{"a":"x"}"#, r#"{"a":null}"#],
                &[r#"{"a":5.0}"#, "{}"],
            ),
            (
                r#"{"a":[{"anything-but":["x","y"]}]}"#,
                &[r#"{"a":"z"}"#],
                &[r#"{"a":"y"}"#],
            ),
            (
                r#"{"a":[{"anything-but":{"prefix":"x"}}]}"#,
                &[r#"{"a":"y"}"#, r#"{"a":5}"#, r#"{"a":null}"#],
                &[r#"{"a":"xa"}"#, "{}"],
            ),
            (
                r#"{"a":[{"anything-but":{"suffix":["x","y"]}}]}"#,
                &[r#"{"a":"z"}"#],
                &[r#"{"a":"ax"}"#, r#"{"a":"ay"}"#],
            ),
            (
                r#"{"a":[{"anything-but":{"equals-ignore-case":"x"}}]}"#,
                &[r#"{"a":"z"}"#],
                &[r#"{"a":"X"}"#],
            ),
            (
                r#"{"a":[{"anything-but":{"wildcard":"*b*"}}]}"#,
                &[r#"{"a":"ac"}"#],
                &[r#"{"a":"abc"}"#],
            ),
        ],
    );
}

#[test]
fn texts_and_numbers_are_looked_into() {
    table(
        EventBridge,
        &[
            (
                r#"{"a":[{"prefix":"12"}]}"#,
                &[r#"{"a":"123"}"#],
                &[r#"{"a":123}"#, r#"{"a":"312"}"#],
            ),
            (
                r#"{"a":[{"prefix":""}]}"#,
                &[r#"{"a":""}"#, r#"{"a":"x"}"#],
                &[r#"{"a":1}"#],
            ),
            (
                r#"{"a":[{"prefix":{"equals-ignore-case":"éx"}}]}"#,
                &[r#"{"a":"ÉXy"}"#],
                &[r#"{"a":"yéx"}"#],
            ),
            (
                r#"{"a":[{"suffix":"yz"}]}"#,
                &[r#"{"a":"xyz"}"#],
                &[r#"{"a":"yzx"}"#],
            ),
            (
                r#"{"a":[{"suffix":{"equals-ignore-case":"YZ"}}]}"#,
                &[r#"{"a":"xyz"}"#],
                &[r#"{"a":"z"}"#],
            ),
            (
                r#"{"a":[{"equals-ignore-case":"STRASSE"}]}"#,
                &[r#"{"a":"strasse"}"#],
                &[r#"{"a":"straße"}"#],
            ),
            (
                r#"{"a":[{"equals-ignore-case":"straße"}]}"#,
                &[r#"{"a":"STRASSE"}"#, r#"{"a":"STRAßE"}"#],
                &[r#"{"a":"strase"}"#],
            ),
            (
                r#"{"a":[{"suffix":{"equals-ignore-case":"ß"}}]}"#,
                &[r#"{"a":"xSS"}"#],
                &[r#"{"a":"xS"}"#],
            ),
            (
                r#"{"a":[{"wildcard":""}]}"#,
                &[r#"{"a":""}"#],
                &[r#"{"a":"x"}"#],
            ),
            (
                r#"{"a":[{"anything-but":"10.0.0.1"}]}"#,
                &[r#"{"a":"10.0.0.01"}"#],
                &[r#"{"a":"10.0.0.1"}"#],
            ),
            (
                r#"{"a":[{"cidr":"2001:db8::7/32"}]}"#,
                &[r#"{"a":"2001:0DB8:1::"}"#],
                &[r#"{"a":"2001:db9::"}"#, r#"{"a":"10.0.0.1"}"#],
            ),
            (
                r#"{"a":[{"wildcard":"a*c"}]}"#,
                &[r#"{"a":"ac"}"#, r#"{"a":"abcc"}"#],
                &[r#"{"a":"abcd"}"#, r#"{"a":5}"#],
            ),
            (
                r#"{"a":[{"wildcard":"\\**\\\\"}]}"#,
                &[r#"{"a":"*x\\"}"#],
                &[r#"{"a":"xx\\"}"#],
            ),
            (
                r#"{"a":[{"numeric":[">",5]}]}"#,
                &[r#"{"a":7}"#, r#"{"a":7.0}"#],
                &[
                    r#"{"a":"7"}"#,
                    r#"{"a":null}"#,
                    r#"{"a":5}"#,
                    r#"{"a":12345678901234567}"#,
                    r#"{"a":1e309}"#,
                    r#"{"a":6.1234567890123456789}"#,
                ],
            ),
            (
                r#"{"a":[{"numeric":[">=",0,"<",10]}]}"#,
                &[r#"{"a":0}"#, r#"{"a":9.99}"#],
                &[r#"{"a":10}"#, r#"{"a":-1}"#],
            ),
            (
                r#"{"a":[{"numeric":["=",3.0]}]}"#,
                &[r#"{"a":3}"#],
                &[r#"{"a":4}"#],
            ),
            (
                r#"{"a":[{"numeric":["<=",3]}]}"#,
                &[r#"{"a":3}"#],
                &[r#"{"a":4}"#],
            ),
            (
                r#"{"a":[{"regex":"^o-[0-9]+$"}]}"#,
                &[r#"{"a":"o-12"}"#],
                &[r#"{"a":"xo-12"}"#, r#"{"a":12}"#],
            ),
            (
                r#"{"a":["10.0.0.1"]}"#,
                &[r#"{"a":"10.0.0.01"}"#],
                &[r#"{"a":"10.0.0.2"}"#],
            ),
            (
                r#"{"a":["2001:db8::1"]}"#,
                &[r#"{"a":"2001:0db8:0:0:0:0:0:1"}"#],
                &[],
            ),
            (
                r#"{"a":["300.1.2.3"]}"#,
                &[r#"{"a":"300.1.2.3"}"#],
                &[r#"{"a":"300.1.2.03"}"#],
            ),
            (
                r#"{"a":[{"cidr":"10.0.0.7/24"}]}"#,
                &[r#"{"a":"10.0.0.255"}"#],
                &[r#"{"a":"10.0.1.0"}"#, r#"{"a":10}"#],
            ),
        ],
    );
}

#[test]
fn fields_are_joined_by_and_dots_are_paths_and_twins_are_both_there() {
    table(
        EventBridge,
        &[
            (
                r#"{"a":[1],"b":{"c":[2]}}"#,
                &[r#"{"a":1,"b":{"c":2}}"#, r#"{"a":1,"b.c":2}"#],
                &[r#"{"a":1}"#],
            ),
            (
                r#"{"b.c":[2]}"#,
                &[r#"{"b":{"c":2}}"#, r#"{"b.c":2}"#],
                &[r#"{"b":{"d":2}}"#],
            ),
            (
                r#"{"a":[1]}"#,
                &[r#"{"a":1,"a":2}"#, r#"{"a":2,"a":1}"#],
                &[],
            ),
            (
                r#"{"a":{"b":[1],"c":[2]}}"#,
                &[r#"{"a":{"b":1},"a":{"c":2}}"#, r#"{"a":{"b":1},"a.c":2}"#],
                &[r#"{"a":{"b":1},"a":{"c":3}}"#],
            ),
            (r#"{"a":[1],"a":[2]}"#, &[r#"{"a":2}"#], &[r#"{"a":1}"#]),
            (r#"{"a":[{"exists":false}]}"#, &[], &["[1]", "5", "null"]),
        ],
    );
}

#[test]
fn or_multiplies_overrides_and_falls_back_to_a_name() {
    table(
        EventBridge,
        &[
            (
                r#"{"a":[1],"$or":[{"b":[2]},{"c":[3]}]}"#,
                &[r#"{"a":1,"b":2}"#, r#"{"a":1,"c":3}"#],
                &[r#"{"a":1}"#, r#"{"b":2}"#],
            ),
            (
                r#"{"a":[1],"$or":[{"a":[2]},{"b":[3]}]}"#,
                &[r#"{"a":2}"#, r#"{"a":1,"b":3}"#],
                &[r#"{"a":1}"#],
            ),
            (
                r#"{"$or":[{"a":[2]},{"b":[3]}],"a":[1]}"#,
                &[r#"{"a":1}"#],
                &[r#"{"a":2}"#],
            ),
            (
                r#"{"x":{"$or":[{"a":[2]},{"b":[3]}]}}"#,
                &[r#"{"x":{"b":3}}"#],
                &[r#"{"b":3}"#],
            ),
            (
                r#"{"$or":[{"$or":[{"a":[1]},{"b":[1]}]},{"c":[1]}]}"#,
                &[r#"{"b":1}"#, r#"{"c":1}"#],
                &["{}"],
            ),
            (r#"{"$or":[1,2]}"#, &[r#"{"$or":1}"#], &["{}"]),
            (
                r#"{"$or":[{"prefix":"x"},{"suffix":"y"}]}"#,
                &[r#"{"$or":"xa"}"#],
                &[r#"{"x":1}"#],
            ),
            (r#"{"$or":{"a":[1]}}"#, &[r#"{"$or":{"a":1}}"#], &["{}"]),
            // One `$or` that is a name makes all of them names.
            (
                r#"{"x":{"$or":[1]},"y":{"$or":[5]}}"#,
                &[r#"{"x":{"$or":1},"y":{"$or":5}}"#],
                &[r#"{"x":{"$or":1}}"#],
            ),
            (
                r#"{"a":{"b":[1]},"$or":[{"a.b":[2]},{"c":[3]}]}"#,
                &[r#"{"a":{"b":2}}"#, r#"{"a":{"b":1},"c":3}"#],
                &[r#"{"a":{"b":1}}"#],
            ),
            (
                r#"{"$or":[{"a":[1]},{"b":[1]}],"c":{"$or":[{"d":[1]},{"e":[1]}]}}"#,
                &[r#"{"a":1,"c":{"e":1}}"#, r#"{"b":1,"c":{"d":1}}"#],
                &[r#"{"a":1,"b":1}"#, r#"{"c":{"d":1,"e":1}}"#],
            ),
        ],
    );
}

#[test]
fn within_or_the_names_of_operators_are_no_fields() {
    for name in [
        "exactly",
        "equals-ignore-case",
        "prefix",
        "suffix",
        "anything-but",
        "exists",
        "wildcard",
        "numeric",
        "cidr",
        "=",
        "<",
        "<=",
        ">",
        ">=",
        "regex",
        "not-wildcard",
        "not-equals-ignore-case",
        "date-after",
        "date-on-or-after",
        "date-before",
        "date-on-or-before",
        "in-date-range",
        "ip-address-in-range",
        "ip-address-not-in-range",
    ] {
        let rule = format!(r#"{{"$or":[{{"a":[1]}},{{"b":{{"{name}":[2]}}}}]}}"#);
        refused(
            EventBridge,
            &[(&rule, &format!("/$or/1/b/{name}"), "is an operator")],
        );
        let rule = format!(r#"{{"b":{{"{name}":[2]}}}}"#);
        assert!(matches(
            EventBridge,
            &rule,
            &format!(r#"{{"b":{{"{name}":2}}}}"#)
        ));
    }
    for name in ["Prefix", "date-x", "date", "ip-address", "!="] {
        let rule = format!(r#"{{"$or":[{{"a":[1]}},{{"{name}":[2]}}]}}"#);
        assert!(matches(EventBridge, &rule, &format!(r#"{{"{name}":2}}"#)));
    }
}

#[test]
fn one_element_of_each_array_meets_all_conditions_below_it() {
    let rule = r#"{"e":{"f":["Anna"],"l":["Jones"]}}"#;
    table(
        EventBridge,
        &[
            (
                rule,
                &[
                    r#"{"e":[{"f":"Anna","l":"Jones"}]}"#,
                    r#"{"e":{"f":["x","Anna"],"l":"Jones"}}"#,
                ],
                &[r#"{"e":[{"f":"Anna","l":"Smith"},{"f":"Peter","l":"Jones"}]}"#],
            ),
            (
                r#"{"a":{"b":[1],"c":[2]}}"#,
                &[r#"{"a":[[{"b":1,"c":2}]]}"#],
                &[
                    r#"{"a":[[{"b":1}],[{"c":2}]]}"#,
                    r#"{"a":[[{"b":1},{"c":2}]]}"#,
                ],
            ),
            (
                r#"{"a":{"x":[1]},"b":{"y":[2]}}"#,
                &[r#"{"a":[{"x":0},{"x":1}],"b":[{"y":2}]}"#],
                &[],
            ),
            (
                r#"{"a":[1,{"prefix":"z"}],"a.b":[2]}"#,
                &[r#"{"a":[1,{"b":2}]}"#, r#"{"a":[{"b":2},"z"]}"#],
                &[r#"{"a":[{"b":2}]}"#],
            ),
            (
                r#"{"a":{"b":{"c":[1],"d":[2]},"e":[3]}}"#,
                &[r#"{"a":[{"b":[{"c":1,"d":2}],"e":3}]}"#],
                &[
                    r#"{"a":[{"b":[{"c":1},{"d":2}],"e":3}]}"#,
                    r#"{"a":[{"b":[{"c":1,"d":2}]},{"e":3}]}"#,
                ],
            ),
        ],
    );
}

#[test]
fn absent_means_in_the_chosen_element_whatever_the_order_of_names() {
    for name in ["b", "z"] {
        let rule = format!(r#"{{"e":{{"f":[1],"{name}":[{{"exists":false}}]}}}}"#);
        assert!(matches(
            EventBridge,
            &rule,
            &format!(r#"{{"e":[{{"f":1}},{{"f":2,"{name}":3}}]}}"#)
        ));
        assert!(!matches(
            EventBridge,
            &rule,
            &format!(r#"{{"e":[{{"f":1,"{name}":3}},{{"f":2}}]}}"#)
        ));
    }
    table(
        EventBridge,
        &[(
            r#"{"e":{"z":[{"exists":false}]}}"#,
            &[r#"{"e":[{"y":1}]}"#, r#"{"e":[]}"#, "{}"],
            &[r#"{"e":[{"z":1},{"y":2}]}"#],
        )],
    );
}

#[test]
fn what_is_no_pattern_says_where_and_why() {
    refused(
        EventBridge,
        &[
            ("[]", "", "is an object, found an array"),
            ("{}", "", "empty objects are not allowed"),
            (r#"{"a":{}}"#, "/a", "empty objects are not allowed"),
            (r#"{"a":[]}"#, "/a", "empty lists are not allowed"),
            (
                r#"{"a":"x"}"#,
                "/a",
                r#"found a string; write it like ["x"]"#,
            ),
            (r#"{"a":[["x"]]}"#, "/a/0", "does not hold lists"),
            (
                r#"{"a/b":{"~":[{}]}}"#,
                "/a~1b/~0/0",
                "exactly one operator, found 0",
            ),
            (r#"{"a":[{"prefix":"x","suffix":"y"}]}"#, "/a/0", "found 2"),
            (
                r#"{"a":[{"NUMERIC":["=",1]}]}"#,
                "/a/0/NUMERIC",
                "there is no operator",
            ),
            (
                r#"{"a":[{"prefix":5}]}"#,
                "/a/0/prefix",
                "takes a string, found a number",
            ),
            (
                r#"{"a":[{"prefix":{"suffix":"x"}}]}"#,
                "/a/0/prefix/suffix",
                "allowed is equals-ignore-case",
            ),
            (r#"{"a":[{"exists":1}]}"#, "/a/0/exists", "true or false"),
            (r#"{"a":[{"exactly":5}]}"#, "/a/0/exactly", "takes a string"),
            (
                r#"{"a":[{"wildcard":5}]}"#,
                "/a/0/wildcard",
                "takes a string",
            ),
            (r#"{"a":[{"cidr":5}]}"#, "/a/0/cidr", "takes a string"),
            (
                r#"{"a":[{"equals-ignore-case":["x"]}]}"#,
                "/a/0/equals-ignore-case",
                "takes a string, found an array",
            ),
            (
                r#"{"a":[{"suffix":{"equals-ignore-case":5}}]}"#,
                "/a/0/suffix/equals-ignore-case",
                "takes a string",
            ),
            (
                r#"{"a":[{"numeric":[">=",5,"<=",5]}]}"#,
                "/a/0/numeric",
                "less than",
            ),
            (
                r#"{"a":[{"numeric":["=",1,"<",5]}]}"#,
                "/a/0/numeric",
                "begins with > or >=",
            ),
            (
                r#"{"a":[{"numeric":[">",1,">",5]}]}"#,
                "/a/0/numeric",
                "ends with < or <=",
            ),
            (
                r#"{"a":[{"numeric":[">",1e309]}]}"#,
                "/a/0/numeric",
                "precision",
            ),
            (
                r#"{"a":[{"wildcard":"a\\"}]}"#,
                "/a/0/wildcard",
                "backslash",
            ),
            (
                r#"{"a":[{"anything-but":true}]}"#,
                "/a/0/anything-but",
                "found a boolean",
            ),
            (
                r#"{"a":[{"anything-but":["x",null]}]}"#,
                "/a/0/anything-but",
                "mixed",
            ),
            (
                r#"{"a":[{"anything-but":{"suffix":["x",""]}}]}"#,
                "/a/0/anything-but/suffix",
                "empty string",
            ),
            (
                r#"{"a":[{"anything-but":{"wildcard":[]}}]}"#,
                "/a/0/anything-but/wildcard",
                "empty lists",
            ),
            (
                r#"{"a":[{"anything-but":{"prefix":["x",1]}}]}"#,
                "/a/0/anything-but/prefix",
                "takes a string",
            ),
            (
                r#"{"a":[{"anything-but":{"prefix":"x","suffix":"y"}}]}"#,
                "/a/0/anything-but",
                "found 2",
            ),
            (
                r#"{"a":[{"numeric":["<",5,">",1]}]}"#,
                "/a/0/numeric",
                "begins with > or >=",
            ),
            (
                r#"{"a":[{"numeric":[">",5,"<",1]}]}"#,
                "/a/0/numeric",
                "less than",
            ),
            (
                r#"{"a":[{"numeric":[">"]}]}"#,
                "/a/0/numeric",
                "two or four",
            ),
            (
                r#"{"a":[{"numeric":["!",1]}]}"#,
                "/a/0/numeric",
                "allowed is =",
            ),
            (
                r#"{"a":[{"numeric":[">","1"]}]}"#,
                "/a/0/numeric",
                "a bound is a number",
            ),
            (
                r#"{"a":[{"wildcard":"a**"}]}"#,
                "/a/0/wildcard",
                "consecutive",
            ),
            (
                r#"{"a":[{"wildcard":"a\\x"}]}"#,
                "/a/0/wildcard",
                "backslash",
            ),
            (
                r#"{"a":[{"anything-but":null}]}"#,
                "/a/0/anything-but",
                "found null",
            ),
            (
                r#"{"a":[{"anything-but":[1,"x"]}]}"#,
                "/a/0/anything-but",
                "mixed",
            ),
            (
                r#"{"a":[{"anything-but":[1,12345678901234567]}]}"#,
                "/a/0/anything-but",
                "precision",
            ),
            (
                r#"{"a":[{"anything-but":[]}]}"#,
                "/a/0/anything-but",
                "not empty",
            ),
            (
                r#"{"a":[{"anything-but":{"numeric":[">",1]}}]}"#,
                "/a/0/anything-but/numeric",
                "allowed is prefix",
            ),
            (
                r#"{"a":[{"anything-but":{"prefix":""}}]}"#,
                "/a/0/anything-but/prefix",
                "empty string",
            ),
            (r#"{"a":[{"cidr":"10.0.0.0/32"}]}"#, "/a/0/cidr", "0 and 31"),
            (r#"{"a":[{"cidr":"::/128"}]}"#, "/a/0/cidr", "0 and 127"),
            (r#"{"a":[{"regex":"("}]}"#, "/a/0/regex", "unclosed group"),
            (
                r#"{"a":[{"regex":"(?:a{1000}){1000}"}]}"#,
                "/a/0/regex",
                "when compiled",
            ),
            (r#"{"$or":[{"a":[1]}]}"#, "/$or", "at least two objects"),
            (
                r#"{"$or":[{"a":{"prefix":[1]}},{"b":[2]}]}"#,
                "/$or/0/a/prefix",
                "is an operator",
            ),
            (r#"{"a":1"#, "", "not JSON"),
        ],
    );
}
