"""Graph lottery tickets: networks with few weights on graphs with few edges, and the methods that search for them."""

from gossamer._core.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    attributes={
        "random_ticket": ["RandomTicket"],
        "ticket": ["TicketCost", "TicketResult", "sweep_levels", "sweep_sparsities", "ticket_cost"],
        "ugs": ["UGS"],
        "wd_glt": ["WDGLT"],
    },
)
