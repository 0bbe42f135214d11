package lambda

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

const (
	// mostFiles and mostUnpacked bound a deployment package, unpacked, as Lambda does.
	mostFiles    = 1000
	mostUnpacked = 250 << 20
)

// A file is one of a deployment package.
type file struct {
	name string
	mode os.FileMode
	zip  *zip.File
}

// decodeZip looks at a deployment package: all names lie within it, and bootstrap is there
// and can be executed.
func decodeZip(body []byte) ([]file, error) {
	z, err := zip.NewReader(bytes.NewReader(body), int64(len(body)))
	if err != nil {
		return nil, err
	}
	if len(z.File) > mostFiles {
		return nil, fmt.Errorf("%d files, at most %d", len(z.File), mostFiles)
	}
	var out []file
	var size uint64
	runs := false
	for _, f := range z.File {
		if f.FileInfo().IsDir() {
			continue
		}
		size += f.UncompressedSize64
		switch {
		case !filepath.IsLocal(f.Name) || !f.Mode().IsRegular():
			return nil, fmt.Errorf("%.80q is no file within the package", f.Name)
		case size > mostUnpacked || f.UncompressedSize64 > mostUnpacked:
			return nil, fmt.Errorf("more than %d bytes", mostUnpacked)
		case filepath.Clean(f.Name) == "bootstrap":
			if f.Mode().Perm()&0o111 == 0 {
				return nil, errors.New("bootstrap is not executable")
			}
			runs = true
		}
		out = append(out, file{filepath.Clean(f.Name), f.Mode().Perm(), f})
	}
	if !runs {
		return nil, errors.New("no bootstrap at the root of the package")
	}
	return out, nil
}

// unpack writes files into a directory.
func unpack(files []file, dir string) error {
	for _, f := range files {
		if err := f.write(filepath.Join(dir, f.name)); err != nil {
			return fmt.Errorf("unpack %s: %w", f.name, err)
		}
	}
	return nil
}

func (f file) write(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	in, err := f.zip.Open()
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()                                              // it was read
	out, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, f.mode|0o600) //nolint:gosec // within a directory of ours
	if err != nil {
		return err
	}
	// A header may lie about the size.
	n, err := io.Copy(out, io.LimitReader(in, mostUnpacked+1))
	if err == nil && n > mostUnpacked {
		err = fmt.Errorf("more than %d bytes", mostUnpacked)
	}
	return errors.Join(err, out.Close())
}
