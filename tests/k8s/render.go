// What Helm's engine is at heart, Go's templates, with the functions that the chart of deploy/helm uses.
//
//	render NAMESPACE TEMPLATE <VALUES.json
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"text/template"
)

func main() {
	var values map[string]any
	decoder := json.NewDecoder(os.Stdin)
	decoder.UseNumber()
	check(decoder.Decode(&values))
	toJSON := func(value any) (string, error) {
		text, err := json.Marshal(value)
		return string(text), err
	}
	functions := template.FuncMap{
		"toJson": toJSON,
		"toYaml": toJSON, // which is YAML
		"quote":  func(text string) string { return fmt.Sprintf("%q", text) },
		"indent": func(width int, text string) string {
			margin := strings.Repeat(" ", width)
			return margin + strings.ReplaceAll(text, "\n", "\n"+margin)
		},
	}
	text, err := os.ReadFile(os.Args[2])
	check(err)
	parsed, err := template.New("t").Option("missingkey=error").Funcs(functions).Parse(string(text))
	check(err)
	check(parsed.Execute(os.Stdout, map[string]any{
		"Values": values, "Release": map[string]any{"Namespace": os.Args[1]}}))
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
