// Package yamlfile reads files that people write and gathers all that is wrong with them.
package yamlfile
