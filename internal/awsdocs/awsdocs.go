package awsdocs

import (
	"fmt"
	"regexp"
	"strings"
)

// What is to be done with a Block.
const (
	Run   = "run"
	Check = "check"
)

// A Block is a fenced block of commands in a page.
type Block struct {
	// Name is unique in its page.
	Name string
	// Do is Run or Check; "" is for people.
	Do string
	// Line is that of the page where the block begins, from 1.
	Line int
	// Commands are what stands in it.
	Commands string
	// Prints is what it is to print; nil: that does not matter.
	Prints *string
}

// Read returns the blocks of commands of a page, in its order. It fails if one is not closed, or has no
// name of its own, or is not known to be for anything.
func Read(page string) ([]Block, error) {
	var blocks []Block
	names := map[string]bool{}
	lines := strings.Split(page, "\n")
	behind := -1 // the block that a text may belong to
	for i := 0; i < len(lines); i++ {
		info, fence := strings.CutPrefix(lines[i], "```")
		if !fence {
			if strings.TrimSpace(lines[i]) != "" {
				behind = -1
			}
			continue
		}
		end := i + 1
		for end < len(lines) && lines[end] != "```" {
			end++
		}
		if end == len(lines) {
			return nil, fmt.Errorf("line %d: the block is not closed", i+1)
		}
		body := strings.Join(lines[i+1:end], "\n") + "\n"
		switch {
		case info == "sh" || strings.HasPrefix(info, "sh "):
			b, err := begin(info, names)
			if err != nil {
				return nil, fmt.Errorf("line %d: %w", i+1, err)
			}
			b.Line, b.Commands = i+1, body
			blocks = append(blocks, b)
			behind = len(blocks) - 1
		case info == "text" && behind >= 0 && blocks[behind].Do == Run:
			blocks[behind].Prints = &body
			behind = -1
		default:
			behind = -1
		}
		i = end
	}
	return blocks, nil
}

// begin reads the line that a block of commands begins with. Names are those that are taken.
func begin(info string, names map[string]bool) (Block, error) {
	words := strings.Fields(info)
	if len(words) == 1 {
		return Block{}, nil
	}
	if len(words) != 3 || words[1] != Run && words[1] != Check || names[words[2]] {
		return Block{}, fmt.Errorf("want sh, or sh run NAME or sh check NAME with a name of its own: %q", info)
	}
	names[words[2]] = true
	return Block{Do: words[1], Name: words[2]}, nil
}

// Says reports whether a block was to print what it did, but for space at the end of lines and of all.
func (b Block) Says(printed string) bool {
	if b.Prints == nil {
		return true
	}
	var pattern strings.Builder
	for i, part := range strings.Split(trim(*b.Prints), "…") {
		if i > 0 {
			pattern.WriteString(".*")
		}
		pattern.WriteString(regexp.QuoteMeta(part))
	}
	return regexp.MustCompile(`^(?:` + pattern.String() + `)$`).MatchString(trim(printed))
}

func trim(s string) string {
	lines := strings.Split(s, "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " \t\r")
	}
	return strings.Trim(strings.Join(lines, "\n"), "\n")
}

// service is how a command names the service that it asks.
var service = regexp.MustCompile(`(?m)(?:^|[\s("!])aws ([a-z][a-z0-9-]+) [a-z]`)

// Services returns the services that a block's commands ask, as often as they do.
func (b Block) Services() []string {
	var out []string
	for _, m := range service.FindAllStringSubmatch(b.Commands, -1) {
		out = append(out, m[1])
	}
	return out
}
