// Package browsertest drives pages in a headless Chromium for tests.
package browsertest
