"""The tables of the shop as they are read, for what needs no database."""

from paybill.agents.facts import Collection, Column, Reference, Schema

ORDERS = Collection(
    name="orders",
    kind="r",
    columns=(
        Column(name="id", type="integer", kind="Integer", nullable=False, defaulted=True, bits=32),
        Column(name="customer_id", type="integer", kind="Integer", nullable=False, bits=32),
        Column(name="region", type="text", kind="Text", nullable=False),
        Column(name="amount", type="numeric(10,2)", kind="Decimal", nullable=False, precision=10, scale=2),
        Column(
            name="status", type="t_shop0001.status", kind="Enum", nullable=False, defaulted=True,
            labels=("open", "refund_requested", "refunded"),
        ),
        Column(name="notes", type="character varying(40)", kind="Text", length=40),
        Column(name="version", type="bigint", kind="Integer", nullable=False, defaulted=True, bits=64),
        Column(name="placed", type="timestamp with time zone", kind="Timestamp", nullable=False, defaulted=True),
        Column(name="tags", type="text[]", kind="Opaque"),
        Column(name="doubled", type="numeric", kind="Decimal", generated=True, defaulted=True),
    ),
    primary_key=("id",),
)  # fmt: skip
COMMENTS = Collection(
    name="comments",
    kind="r",
    columns=(
        Column(name="id", type="integer", kind="Integer", nullable=False, defaulted=True, generated=True, bits=32),
        Column(name="order_id", type="integer", kind="Integer", bits=32),
        Column(name="body", type="text", kind="Text"),
    ),
    primary_key=("id",),
    references=(Reference(columns=("order_id",), collection="orders", to=("id",), on_delete="Cascade"),),
)
SCHEMA = Schema(name="t_shop0001", collections=(COMMENTS, ORDERS))
