package quorum

import (
	"crypto/tls"
	"net"
	"sync/atomic"
	"time"
)

// pieceBytes is what is written within one deadline: a large frame may take longer.
const pieceBytes = 32 << 10

// A wire is a connection with which no read or write is silent for too long.
type wire struct {
	net.Conn
	silence time.Duration
	heard   atomic.Int64 // bytes read
}

// Read fails when nothing comes for as long as silence.
func (w *wire) Read(b []byte) (int, error) {
	if err := w.SetReadDeadline(time.Now().Add(w.silence)); err != nil {
		return 0, err
	}
	n, err := w.Conn.Read(b)
	w.heard.Add(int64(n))
	return n, err
}

// Write fails when a piece is not taken for as long as silence.
func (w *wire) Write(b []byte) (done int, err error) {
	for done < len(b) {
		if err := w.SetWriteDeadline(time.Now().Add(w.silence)); err != nil {
			return done, err
		}
		n, err := w.Conn.Write(b[done:min(len(b), done+pieceBytes)])
		done += n
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

// Close closes the connection without TLS's own goodbye, which would wait for a
// peer that is not there any more; links have one of theirs.
func (w *wire) Close() error {
	if secure, ok := w.Conn.(*tls.Conn); ok {
		return secure.NetConn().Close()
	}
	return w.Conn.Close()
}

// send writes one frame.
func (w *wire) send(f frame) error {
	b, err := appendFrame(nil, f)
	if err == nil {
		_, err = w.Write(b)
	}
	return err
}
