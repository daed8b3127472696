//! The one list of differences from dynoxide that are meant, each with its reason.

use serde_json::Value;

/// A canonical answer: status and body.
pub(crate) type Answer = (u16, Value);

struct Difference<'a> {
    operation: &'a str,
    request: &'a Value,
    ours: &'a Answer,
    theirs: &'a Answer,
}

impl Difference<'_> {
    /// Whether we refuse with a message that contains `text`.
    fn we_say(&self, text: &str) -> bool {
        says(self.ours, text)
    }

    /// Whether dynoxide refuses with a message that contains `text`.
    fn they_say(&self, text: &str) -> bool {
        says(self.theirs, text)
    }
}

fn says(answer: &Answer, text: &str) -> bool {
    answer.0 == 400 && answer.1["message"].as_str().is_some_and(|message| message.contains(text))
}

type Rule = fn(&Difference<'_>) -> bool;

const RULES: [(&str, Rule); 13] = [
    (
        "dynoxide answers ALL_OLD of an update that creates an item with the item's key; nothing was there before",
        |it| {
            it.operation == "UpdateItem"
                && matches!(it.request["ReturnValues"].as_str(), Some("ALL_OLD" | "UPDATED_OLD"))
                && (it.ours.0, it.theirs.0) == (200, 200)
                && it.ours.1.get("Attributes").is_none()
                && it.theirs.1["Attributes"] == it.request["Key"]
        },
    ),
    (
        "the API refuses an operand that has no order, or is no text, before it looks at any item; dynoxide does so \
         for some operators only, and after other checks",
        |it| it.we_say("Incorrect operand type for operator or function"),
    ),
    (
        "the API refuses bounds of BETWEEN that nothing is between in every expression; dynoxide not in filters",
        |it| it.we_say("The BETWEEN operator requires") && !it.they_say("The BETWEEN operator requires"),
    ),
    ("dynoxide repeats the bounds of BETWEEN as the request writes them, we in their canonical form", |it| {
        it.we_say("The BETWEEN operator requires") && it.they_say("The BETWEEN operator requires")
    }),
    ("dynoxide compares operands before it resolves placeholders, so it misses that two are one", |it| {
        it.we_say("The first operand must be distinct")
    }),
    (
        "dynoxide finds conflicting paths of a projection not at all and those of an update only in some orders",
        |it| it.we_say("Two document paths conflict with each other"),
    ),
    (
        "the API names the expression that uses an undefined value; dynoxide does not for key conditions",
        |it| {
            it.we_say(
                "Invalid KeyConditionExpression: An expression attribute value used in expression is not",
            )
        },
    ),
    (
        "dynoxide ignores the starting key of a query on a table without a sort key and reads its one item again",
        |it| {
            let start = it.request["ExclusiveStartKey"].as_object();
            it.operation == "Query"
                && it.ours.1["ScannedCount"] == 0
                && start.is_some_and(|start| start.len() == 1)
        },
    ),
    ("of an update of a list element dynoxide returns the whole list, we the element", |it| {
        it.operation == "UpdateItem"
            && matches!(it.request["ReturnValues"].as_str(), Some("UPDATED_OLD" | "UPDATED_NEW"))
            && it.request["UpdateExpression"].as_str().is_some_and(|update| update.contains('['))
            && (it.ours.0, it.theirs.0) == (200, 200)
    }),
    (
        "of two mistakes we report an undefined value as the expression is read, dynoxide after other checks",
        |it| {
            it.we_say("An expression attribute value used in expression is not defined") && it.theirs.0 == 400
        },
    ),
    (
        "of two mistakes we report that of the projection before what depends on the table or on the key condition",
        |it| it.we_say("Invalid ProjectionExpression: ") && it.theirs.0 == 400,
    ),
    ("of two actions of an update that cannot be done the implementations report either", |it| {
        it.we_say("significant digits") && it.they_say("refers to an attribute that does not exist")
    }),
    (
        "of two mistakes we report an unused placeholder first, dynoxide what depends on the table's key",
        |it| it.operation == "Query" && it.we_say("unused in expressions") && it.theirs.0 == 400,
    ),
];

/// Why two answers differ, if it is known.
pub(crate) fn explain(
    operation: &str,
    request: &Value,
    ours: &Answer,
    theirs: &Answer,
) -> Option<&'static str> {
    let difference = Difference { operation, request, ours, theirs };
    RULES.iter().find(|(_, applies)| applies(&difference)).map(|(reason, _)| *reason)
}
