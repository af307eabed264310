"""How a thread answers a request that its worker has received as a whole."""

import time
from datetime import timedelta

from gunicorn.http.message import Request
from gunicorn.http.wsgi import Response
from gunicorn.workers.gthread import TConn, ThreadWorker

from opendify.serving.answering import PlainAnswer, request_environ
from opendify.serving.base_worker import BaseWorker
from opendify.serving.connection import Connection


class AnsweringWorker(BaseWorker, ThreadWorker):
    """Takes fewer steps than Gunicorn's for each request; what it does is the same."""

    def handle_request(self, req: Request, conn: TConn) -> bool:
        """As in the base class, in fewer steps where all of the request is there."""
        if not isinstance(conn, Connection) or conn.environ is None or not conn.parser.has_body:
            return bool(super().handle_request(req, conn))
        answer = PlainAnswer(req, conn.sock, conn.parser.cfg)
        self._count_request(answer)
        began_at = time.monotonic()
        environ = request_environ(conn.environ, req, conn.parser.take_body())
        try:
            # The stubs lack `exc_info`.
            answer.write_all(self.wsgi(environ, answer.start_response))  # type: ignore[arg-type]
        except OSError:
            raise
        except (Exception, SystemExit) as error:
            if not answer.headers_sent:
                raise
            # Another answer behind half a one would be read as part of it.
            self.log.exception("Error handling request")
            raise StopIteration from error
        finally:
            if answer.status:
                self.log.access(answer, req, environ, timedelta(seconds=time.monotonic() - began_at))
        return not answer.should_close()

    def _count_request(self, answer: Response) -> None:
        """The last request of a worker, and those that it has no room to wait after, end their connection."""
        self.nr += 1
        if self.nr >= self.max_requests and self.alive:
            self.log.info("Autorestarting worker after current request.")
            self.alive = False
        keeps = self.alive and self.cfg.keepalive and len(self.keepalived_conns) < self.max_keepalived
        if not keeps:
            answer.force_close()
