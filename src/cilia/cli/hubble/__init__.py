"""What `cilia hubble` shows: flags to a request, flows to lines.

`flags` and `filters` make FlowFilters of words; `times` and `selection` say which flows;
`wording` says a flow in words and `lines` lays them out; `why` names the rules behind a
verdict, `top` counts. Only `connection` knows gRPC, and only `recorded` reads files.
"""
