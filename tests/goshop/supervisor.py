"""A supervisor to be ended in every way: `supervisor.py ROOT` runs a shop of stand-ins and says its ports when it is up."""

import json
import sys
import threading
from pathlib import Path

from goshop.interrupts import Interrupted
from goshop.run import RunFolder
from goshop.shop import Shop

STANDIN = Path(__file__).with_name("standin.py")

run = RunFolder.create(Path(sys.argv[1]))
try:
    with Shop.start(run, command=lambda name: [sys.executable, str(STANDIN), name]) as shop:
        ports = [port for service in shop.services.values() for port in service.ports.values()]
        sys.stdout.write(json.dumps({"run": str(run.path), "ports": ports}) + "\n")
        sys.stdout.flush()
        threading.Event().wait()
except Interrupted as interrupted:
    sys.exit(128 + interrupted.number)
