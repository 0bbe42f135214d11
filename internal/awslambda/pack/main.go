package main

import (
	"archive/zip"
	"compress/flate"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// moment is when everything in an archive was changed: the first that the format knows. So the
// same bootstrap makes the same bytes.
var moment = time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: pack bootstrap archive.zip")
		os.Exit(2)
	}
	if err := pack(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "pack:", err)
		os.Exit(1)
	}
}

// pack writes an archive with one file at its root that Lambda can run: bootstrap.
func pack(binary, archive string) error {
	in, err := os.Open(binary) //nolint:gosec // the caller names it
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	out, err := os.Create(archive) //nolint:gosec // the caller names it
	if err != nil {
		return err
	}
	return errors.Join(write(out, in), out.Close())
}

func write(out io.Writer, in io.Reader) error {
	z := zip.NewWriter(out)
	z.RegisterCompressor(zip.Deflate, func(w io.Writer) (io.WriteCloser, error) { return flate.NewWriter(w, flate.BestCompression) })
	h := &zip.FileHeader{Name: "bootstrap", Method: zip.Deflate, Modified: moment}
	h.SetMode(0o755)
	w, err := z.CreateHeader(h)
	if err != nil {
		return err
	}
	if _, err := io.Copy(w, in); err != nil {
		return err
	}
	return z.Close()
}
