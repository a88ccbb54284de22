//! Which schemas are taken, and what they say of a config.

use super::*;
use serde_json::json;

fn parsed(schema: Value) -> Schema {
    Schema::parse(&schema.to_string()).unwrap()
}

#[test]
fn each_keyword_holds_values_to_it() {
    let of = |property: Value| json!({"properties": {"a": property}});
    for (property, value, message) in [
        (json!({"type": "string"}), json!("x"), None),
        (json!({"type": "string"}), json!(1), Some("/a: must be a string, not a whole number")),
        (json!({"type": ["string", "null"]}), json!(true), Some("/a: must be null or a string, not true or false")),
        (json!({"type": "integer"}), json!(1.0), None),
        (json!({"type": "integer"}), json!(1.5), Some("/a: must be a whole number, not a number")),
        (json!({"type": "number"}), json!(1), None),
        (json!({"enum": ["GET", "HEAD"]}), json!("POST"), Some("/a: must be one of \"GET\", \"HEAD\", not \"POST\"")),
        (json!({"enum": [1]}), json!(1.0), None),
        (json!({"const": "x"}), json!("y"), Some("/a: must be \"x\", not \"y\"")),
        (json!({"const": 1, "enum": [1, 2]}), json!(2), Some("/a: must be 1, not 2")),
        (json!({"minimum": 1}), json!(0), Some("/a: must be at least 1, not 0")),
        (json!({"minimum": 1}), json!(1), None),
        (json!({"maximum": 1}), json!(1.5), Some("/a: must be at most 1, not 1.5")),
        (json!({"exclusiveMinimum": 0}), json!(0), Some("/a: must be more than 0, not 0")),
        (json!({"exclusiveMaximum": 9007199254740993_u64}), json!(9007199254740992_u64), None),
        (json!({"minLength": 1}), json!(""), Some("/a: must have at least 1 characters, not 0")),
        (json!({"maxLength": 2}), json!("äöü"), Some("/a: must have at most 2 characters, not 3")),
        (json!({"pattern": "^a+$"}), json!("ab"), Some("/a: must match the pattern ^a+$")),
        (json!({"minItems": 1}), json!([]), Some("/a: must have at least 1 items, not 0")),
        (json!({"maxItems": 1}), json!([1, 2]), Some("/a: must have at most 1 items, not 2")),
        (json!({"items": {"type": "string"}}), json!(["x", 1]), Some("/a/1: must be a string, not a whole number")),
        (json!({"required": ["b/c"]}), json!({}), Some("/a/b~1c: is missing")),
        (
            json!({"properties": {"url": {}}, "additionalProperties": false}),
            json!({"urll": 1}),
            Some("/a/urll: is not known; allowed here: url"),
        ),
        (
            json!({"additionalProperties": {"type": "string"}}),
            json!({"x": 1}),
            Some("/a/x: must be a string, not a whole number"),
        ),
        (json!({"anyOf": [{"type": "string"}, {"minimum": 5}]}), json!(7), None),
        (
            json!({"anyOf": [{"type": "string"}, {"minimum": 5}]}),
            json!(3),
            Some(
                "/a: fits none of the allowed forms (/a: must be a string, not a whole number; or /a: must be at least 5, not 3)",
            ),
        ),
        (json!(false), json!(1), Some("/a: is not allowed here")),
        (json!(true), json!(1), None),
    ] {
        let schema = parsed(of(property.clone()));
        let said = schema.check(&json!({"a": value})).err().unwrap_or_default();
        assert_eq!(said, message.map(str::to_owned).into_iter().collect::<Vec<_>>(), "{property} {value}");
    }
}

#[test]
fn keywords_for_people_are_skipped_and_others_are_refused_with_their_place() {
    parsed(json!({"$schema": "x", "title": "x", "description": "x", "default": {}, "examples": [], "type": "object"}));
    for (schema, message) in [
        (json!({"oneOf": []}).to_string(), "the schema at /oneOf uses a keyword that is not supported"),
        (
            json!({"properties": {"a/b": {"format": "uri"}}}).to_string(),
            "the schema at /properties/a~1b/format uses a keyword",
        ),
        (json!({"anyOf": [{}, {"$ref": "#"}]}).to_string(), "the schema at /anyOf/1/$ref uses a keyword"),
        (json!({"type": "text"}).to_string(), "the schema at /type must be one of array, boolean"),
        (json!({"type": "string"}).to_string(), "the schema at /type must allow an object"),
        (json!({"minLength": -1}).to_string(), "the schema at /minLength must be a whole number"),
        (json!({"minimum": "1"}).to_string(), "the schema at /minimum must be a number"),
        (json!({"pattern": "("}).to_string(), "the schema at /pattern is not a pattern"),
        (json!({"pattern": "(?=a)"}).to_string(), "the schema at /pattern is not a pattern"),
        (json!({"enum": []}).to_string(), "the schema at /enum must be a list of at least one"),
        (json!({"required": "a"}).to_string(), "the schema at /required must be a list of strings"),
        (json!([]).to_string(), "the schema must be an object, true or false"),
        ("false".to_owned(), "the schema at /type must allow an object"),
        ("{".to_owned(), "the schema is not JSON"),
    ] {
        let error = Schema::parse(&schema).unwrap_err().to_string();
        assert!(error.starts_with(message), "{schema}: {error}");
    }
}

#[test]
fn nothing_said_means_any_object() {
    let any = Schema::parse("  ").unwrap();
    assert_eq!(any.check(&json!({"whatever": [1]})), Ok(()));
    assert_eq!(any.check(&json!(1)), Err(vec!["the config: must be an object, not a whole number".to_owned()]));
}

#[test]
fn schemas_and_messages_are_bounded() {
    let refused = |schema: String| Schema::parse(&schema).unwrap_err().to_string();
    assert!(refused(" ".repeat(TEXT_BYTES_MAX + 1)).contains("longer than 64 KiB"));
    let deep = (0..DEPTH_MAX + 1).fold(json!({}), |inner, _| json!({"items": inner}));
    assert!(refused(deep.to_string()).contains("nested more than 32 deep"));
    let wide: Vec<Value> = (0..WEIGHT_MAX).map(|_| json!({})).collect();
    let values: Vec<usize> = (0..WEIGHT_MAX).collect();
    let names: Vec<String> = values.iter().map(ToString::to_string).collect();
    let patterns: Vec<Value> = (0..WEIGHT_MAX / 16).map(|_| json!({"pattern": "a"})).collect();
    for heavy in
        [json!({"anyOf": wide}), json!({"enum": values}), json!({"required": names}), json!({"anyOf": patterns})]
    {
        assert!(refused(heavy.to_string()).contains("is too much: a schema may hold 1024"), "{heavy}");
    }
    assert!(refused(json!({"pattern": "(\\w{100}){100}"}).to_string()).contains("not a pattern"));

    let strings = parsed(json!({"additionalProperties": {"type": "string"}}));
    let wrong: serde_json::Map<_, _> = (0..100).map(|i| (format!("f{i}"), json!(i))).collect();
    assert_eq!(strings.check(&Value::Object(wrong)).unwrap_err().len(), MESSAGES_MAX);
}
