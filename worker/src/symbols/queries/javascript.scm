; Definitions
(class_declaration name: (identifier) @name) @type
(function_declaration name: (identifier) @name) @function
(generator_function_declaration name: (identifier) @name) @function
(method_definition name: [(property_identifier) (private_property_identifier)] @name) @function
(variable_declarator name: (identifier) @name value: [(arrow_function) (function_expression) (generator_function)]) @function
(variable_declarator name: (identifier) @name value: (class)) @type
(assignment_expression
  left: (member_expression property: (property_identifier) @name)
  right: [(arrow_function) (function_expression)]) @function
(pair key: (property_identifier) @name value: [(arrow_function) (function_expression)]) @function
(field_definition property: (property_identifier) @name value: (arrow_function)) @function
(program (lexical_declaration (variable_declarator name: (identifier) @name
  value: [(string) (number) (object) (array) (template_string) (call_expression) (new_expression)]) @constant))
(program (export_statement (lexical_declaration (variable_declarator name: (identifier) @name
  value: [(string) (number) (object) (array) (template_string) (call_expression) (new_expression)]) @constant)))

; References
(call_expression function: (identifier) @reference)
(call_expression function: (member_expression property: (property_identifier) @reference))
(new_expression constructor: (identifier) @reference)
(new_expression constructor: (member_expression property: (property_identifier) @reference))
(class_heritage (identifier) @reference)
(import_specifier name: (identifier) @reference)
(import_clause (identifier) @reference)
(export_specifier name: (identifier) @reference)
(member_expression object: (identifier) @reference)
(arguments (identifier) @reference)
(jsx_opening_element name: (identifier) @reference)
(jsx_self_closing_element name: (identifier) @reference)
((identifier) @reference (#match? @reference "^[A-Z][A-Z0-9_]+$"))
