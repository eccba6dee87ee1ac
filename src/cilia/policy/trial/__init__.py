"""Trying policies before they are applied: manifests and cases in, outcomes out.

    manifests ──▶ Cluster ─┐                ┌─▶ coverage
    cases.yaml ──▶ cases ──┴─▶ outcomes ────┼─▶ mutants
                                            └─▶ report, JUnit

Decides with the engine itself and `decision.RowTable`; imports no table and no kernel.
"""
