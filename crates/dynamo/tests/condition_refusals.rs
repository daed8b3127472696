//! What condition expressions are refused with, word for word.

mod common;

use common::{Request, on_small_stack, reason};
use meridian_dynamo::DynamoError;
use serde_json::json;

fn request() -> Request {
    Request::new(json!({
        "#n": "name", "#m": "other", ":s": {"S": "b"}, ":t": {"S": "a"}, ":n": {"N": "5"}, ":o": {"N": "1"},
        ":b": {"B": "AQ=="}, ":l": {"L": []}, ":ss": {"SS": ["x"]}, ":bool": {"BOOL": true}, ":type": {"S": "SS"}
    }))
}

fn refused(text: &str) -> String {
    reason(request().condition(text))
}

#[test]
fn syntax_errors_show_the_token_and_its_neighbours() {
    for (text, token, near) in [
        ("a", "<EOF>", "a"),
        ("   ", "<EOF>", "   "),
        ("a =", "<EOF>", "="),
        ("a = :s AND", "<EOF>", "AND"),
        ("= :s", "=", "= :s"),
        ("a  = =  b", "=", "= =  b"),
        ("a b", "b", "a b"),
        ("a = :s )", ")", ":s )"),
        ("(a = :s", "<EOF>", ":s"),
        ("a AND b = :s", "AND", "a AND b"),
        ("(a) AND b = :s", "AND", ") AND b"),
        ("a = :s b = :t", "b", ":s b ="),
        ("NOT", "<EOF>", "NOT"),
        ("a ! = :s", "!", "a ! ="),
        ("a = 100", "100", "= 100"),
        ("a = 'x'", "'", "= 'x"),
        ("l[00] = :s", "0", "00]"),
        ("l[] = :s", "]", "[] ="),
        ("l[-1] = :s", "-", "[-1"),
        ("l[a] = :s", "a", "[a]"),
        ("a. = :s", "=", ". = :s"),
        ("a.:s = :s", ":s", ".:s ="),
        (".a = :s", ".", ".a"),
        ("# = :s", "#", "# ="),
        ("a = :", ":", "= :"),
        ("a BETWEEN :o OR :n", "OR", ":o OR :n"),
        ("a IN :s", ":s", "IN :s"),
        ("a IN ()", ")", "()"),
        ("a IN (:s,)", ")", ",)"),
        ("attribute_exists()", ")", "()"),
        ("attribute_exists(a,)", ")", ",)"),
        ("attribute_exists a", "a", "attribute_exists a"),
        ("a + :n = :n", "+", "a + :n"),
        ("(a + :n) = :n", "+", "a + :n"),
        ("set = :s", "set", "set ="),
        ("a\u{a0}= :s", "\u{a0}", "a\u{a0}="),
    ] {
        assert_eq!(refused(text), format!("Syntax error; token: \"{token}\", near: \"{near}\""), "{text}");
    }
}

#[test]
fn words_and_functions() {
    for (text, message) in [
        ("status = :s", "Attribute name is a reserved keyword; reserved keyword: status"),
        ("a.Name = :s", "Attribute name is a reserved keyword; reserved keyword: Name"),
        ("size(zone) = :n", "Attribute name is a reserved keyword; reserved keyword: zone"),
        ("l[2147483648] = :s", "List index is not within the allowable range; index: [2147483648]"),
        ("foo(a)", "Invalid function name; function: foo"),
        ("SIZE(a) = :n", "Invalid function name; function: SIZE"),
        (
            "if_not_exists(a, :s) = :s",
            "The function is not allowed in a condition expression; function: if_not_exists",
        ),
        ("size(a)", "The function is not allowed to be used this way in an expression; function: size"),
        ("NOT (size(a))", "The function is not allowed to be used this way in an expression; function: size"),
        (
            "a = begins_with(b, :s)",
            "The function is not allowed to be used this way in an expression; function: begins_with",
        ),
        (
            "attribute_exists(a) = :bool",
            "The function is not allowed to be used this way in an expression; function: attribute_exists",
        ),
        (
            "begins_with(a)",
            "Incorrect number of operands for operator or function; operator or function: begins_with, number of operands: 1",
        ),
        (
            "size(a, b) = :n",
            "Incorrect number of operands for operator or function; operator or function: size, number of operands: 2",
        ),
        ("((a = :s))", "The expression has redundant parentheses;"),
        ("((a)) = :s", "The expression has redundant parentheses;"),
        ("a = ((:s))", "The expression has redundant parentheses;"),
        ("b = :s OR ((a = :s)) c", "The expression has redundant parentheses;"),
    ] {
        assert_eq!(refused(text), message, "{text}");
    }
}

#[test]
fn placeholders_and_types() {
    let operand = |operator: &str, kind: &str| {
        format!(
            "Incorrect operand type for operator or function; operator or function: {operator}, operand type: {kind}"
        )
    };
    let distinct = |operator: &str, first: &str| {
        format!(
            "The first operand must be distinct from the remaining operands for this operator or function; operator: \
             {operator}, first operand: {first}"
        )
    };
    let path = |function: &str| {
        format!("Operator or function requires a document path; operator or function: {function}")
    };
    for (text, message) in [
        ("#x = :s", "An expression attribute name used in the document path is not defined; attribute name: #x".into()),
        ("a = :x", "An expression attribute value used in expression is not defined; attribute value: :x".into()),
        ("a < :bool", operand("<", "BOOL")),
        (":l >= a", operand(">=", "L")),
        ("a BETWEEN :ss AND :n", operand("BETWEEN", "SS")),
        ("begins_with(a, :n)", operand("begins_with", "N")),
        ("begins_with(size(a), :s)", operand("begins_with", "N")),
        ("size(:n) = :n", operand("size", "N")),
        ("size(size(a)) = :n", operand("size", "N")),
        ("attribute_type(a, :n)", operand("attribute_type", "N")),
        ("attribute_type(:s, :type)", path("attribute_type")),
        ("attribute_exists(:s)", path("attribute_exists")),
        ("attribute_not_exists(size(a))", path("attribute_not_exists")),
        (
            "attribute_type(a, :s)",
            "Invalid attribute type name found; type: b, valid types: {N,BS,L,B,NULL,M,S,SS,NS,BOOL}".into(),
        ),
        ("a = a", distinct("=", "[a]")),
        ("a.#n[0] <> a.name0 AND #n <= #n", distinct("<=", "[name]")),
        ("contains(a.b[1], a.b[1])", distinct("contains", "[a, b, [1]]")),
        ("a IN (:s, a)", distinct("IN", "[a]")),
        ("a BETWEEN :s AND a", distinct("BETWEEN", "[a]")),
        (
            "a BETWEEN :n AND :s",
            "The BETWEEN operator requires same data type for lower and upper bounds; lower bound operand: \
             AttributeValue: {N:5}, upper bound operand: AttributeValue: {S:b}"
                .into(),
        ),
        (
            "a BETWEEN :n AND :o",
            "The BETWEEN operator requires upper bound to be greater than or equal to lower bound; lower bound \
             operand: AttributeValue: {N:5}, upper bound operand: AttributeValue: {N:1}"
                .into(),
        ),
    ] {
        assert_eq!(refused(text), message, "{text}");
    }
}

#[test]
fn the_kind_of_expression_is_named() {
    assert_eq!(
        request().condition(""),
        Err(DynamoError::request("Invalid ConditionExpression: The expression can not be empty;"))
    );
}

#[test]
fn size_operators_candidates_and_paths_are_bounded() {
    let padded = |len: usize| format!("a = :s{}", " ".repeat(len - 6));
    assert!(request().condition(&padded(4096)).is_ok());
    assert_eq!(refused(&padded(4097)), "Expression size has exceeded the maximum allowed size;");

    let chain = |parts: usize| vec!["a=:s"; parts].join(" OR ");
    assert!(request().condition(&chain(150)).is_ok());
    assert_eq!(refused(&chain(151)), "The expression contains too many operators; operator count: 301");
    assert!(request().condition(&format!("{} a=:s", "NOT ".repeat(299))).is_ok());
    assert_eq!(
        refused(&format!("{} a=:s", "NOT ".repeat(300))),
        "The expression contains too many operators; operator count: 301"
    );

    let candidates = |count: usize| format!("a IN ({})", vec![":s"; count].join(","));
    assert!(request().condition(&candidates(100)).is_ok());
    assert_eq!(
        refused(&candidates(101)),
        "The IN operator is provided with too many operands; number of operands: 101"
    );

    let path = |len: usize| format!("{} = :s", vec!["a"; len].join("."));
    assert!(request().condition(&path(32)).is_ok());
    assert_eq!(refused(&path(33)), "The document path has too many nesting levels; nesting levels: 33");
}

#[test]
fn depth_is_refused_and_never_overflows_the_stack() {
    on_small_stack(|| {
        let around = |open: &str, inner: &str, close: &str, times: usize| {
            format!("{}{inner}{}", open.repeat(times), close.repeat(times))
        };
        // The deepest that is allowed: every level has its operator.
        let allowed = around("(NOT ", "attribute_exists(a)", ")", 299);
        let condition = request().condition(&allowed).unwrap();
        assert!(condition.holds(&meridian_dynamo::Item::new()));
        let bytes = postcard::to_allocvec(&condition).unwrap();
        assert_eq!(postcard::from_bytes(&bytes), Ok(condition));

        let redundant = "The expression has redundant parentheses;";
        assert_eq!(refused(&around("(", "a = :s", ")", 300)), redundant);
        assert_eq!(refused(&around("(", "a = :s", ")", 2000)), redundant);
        assert_eq!(
            refused(&around("(NOT ", "a = :s", ")", 600)),
            "The expression contains too many operators; operator count: 601"
        );
        assert_eq!(
            refused(&around("size(", "a", ")", 600)),
            "The expression contains too many operators; operator count: 600"
        );
        assert_eq!(refused(&"(".repeat(4096)), "Syntax error; token: \"(\", near: \"(((\"");
        assert_eq!(refused(&"NOT ".repeat(1024)), "Syntax error; token: \"<EOF>\", near: \"NOT\"");
        for deep in [around("(", "a = :s", ")", 10_000), "NOT ".repeat(10_000), "(NOT ".repeat(10_000)] {
            assert_eq!(refused(&deep), "Expression size has exceeded the maximum allowed size;");
        }
    });
}
