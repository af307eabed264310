"""The sums that the demo code workflow does."""

from __future__ import annotations

import ast
import operator

_OPERATORS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}


def calculate(expression: str) -> float:
    """The value of an expression of numbers and `+ - * /`.

    Raises:
        SyntaxError, ValueError: It is something else.
        ArithmeticError: It has no value.
    """
    return _value_of(ast.parse(expression, mode="eval").body)


def _value_of(node: ast.expr) -> float:
    match node:
        case ast.Constant(value=int() | float() as value):
            return float(value)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            result: float = _OPERATORS[type(op)](_value_of(left), _value_of(right))
            return result
        case _:
            raise ValueError("not an arithmetic expression")
