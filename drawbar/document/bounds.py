"""What the canonical model's refusals mean to the person who wrote the document."""

from pydantic_core import ErrorDetails


def in_words(problem: ErrorDetails) -> str:
    """`problem` without pydantic's vocabulary."""
    bound = problem.get("ctx", {})
    match problem["type"]:
        case "string_too_short":
            return "must not be empty"
        case "string_too_long":
            return f"is longer than {bound['max_length']:,} characters"
        case "string_pattern_mismatch" if "a-z" in bound["pattern"]:
            return "is not a name for a variable (letters, digits and _, no digit first)"
        case "string_pattern_mismatch" if "/" in bound["pattern"]:
            return "must not hold '/' or control characters"
        case "string_pattern_mismatch":
            return "must not hold a NUL character"
        case "string_unicode":
            return "holds half of a surrogate pair, which is no character"
        case "greater_than_equal":
            return f"must be at least {_number(bound['ge'])}"
        case "less_than_equal":
            return f"must be at most {_number(bound['le'])}"
        case "too_long":
            return (
                f"has {bound['actual_length']:,} items; at most {bound['max_length']:,} are allowed"
            )
        case _:
            return problem["msg"]


def _number(bound: float) -> str:
    return f"{int(bound) if bound == int(bound) else bound:,}"
