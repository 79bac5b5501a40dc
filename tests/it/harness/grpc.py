"""A gRPC server with the health service of grpcio-health-checking.

grpc.py PORT FOLDER [SERVER_CERTIFICATE KEY [CLIENT_AUTHORITY]]: the file `statuses` in the folder holds JSON, status by
service; it is read again and again. `none` in its place registers no health service at all.
"""

import json
import pathlib
import sys
import time
from concurrent import futures

# The folder of this script comes first on the path, and its name would stand in for the package.
sys.path.pop(0)

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

port, folder = sys.argv[1], pathlib.Path(sys.argv[2])
statuses = folder / "statuses"

server = grpc.server(futures.ThreadPoolExecutor(max_workers=8))
servicer = health.HealthServicer()
if statuses.read_text() != "none":
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
if len(sys.argv) > 3:
    certificate, key = (pathlib.Path(path).read_bytes() for path in sys.argv[3:5])
    authority = pathlib.Path(sys.argv[5]).read_bytes() if len(sys.argv) > 5 else None
    credentials = grpc.ssl_server_credentials(
        [(key, certificate)],
        root_certificates=authority,
        require_client_auth=authority is not None,
    )
    server.add_secure_port(f"127.0.0.1:{port}", credentials)
else:
    server.add_insecure_port(f"127.0.0.1:{port}")
server.start()

known = None
while True:
    text = statuses.read_text()
    if text != known and text != "none":
        try:
            wanted = json.loads(text)
        except ValueError:
            continue  # It is being written.
        for service, status in wanted.items():
            servicer.set(service, health_pb2.HealthCheckResponse.ServingStatus.Value(status))
        known = text
    time.sleep(0.02)
