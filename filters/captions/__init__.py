"""The caption rules of stage 2, one concern a file. Each gives `RULES`; see `filters.rules.Rule`."""
