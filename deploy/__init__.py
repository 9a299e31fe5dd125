"""How it runs: container files, manifests, alert rules, dashboards and runbooks, packaged with the wheel."""
