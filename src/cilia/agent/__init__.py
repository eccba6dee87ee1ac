"""The agent: one a node. It chooses the rooms, connects them, and runs them.

program.py   the command: settings, lock, signals
wiring.py    every room and what it is handed; the layers in which they start
startup.py   what must be known before the datapath can be loaded
sources.py   the API server -> tables        objects.py    its objects -> rows
endpoint_objects.py, policy_objects.py       tables -> objects of the API server
definitions.py, crds/                        the resources that we bring along
api.py       the REST API                    views.py, kernel_views.py, health.py
upkeep.py    what must be done every so often
"""
