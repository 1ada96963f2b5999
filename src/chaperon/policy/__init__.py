"""Policy: Cedar over facts. Default deny, any evaluation error denies; only `decision` permits."""
