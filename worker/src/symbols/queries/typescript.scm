; Definitions
(class_declaration name: (type_identifier) @name) @type
(abstract_class_declaration name: (type_identifier) @name) @type
(interface_declaration name: (type_identifier) @name) @interface
(type_alias_declaration name: (type_identifier) @name) @type
(enum_declaration name: (identifier) @name) @type
(internal_module name: (identifier) @name) @module
(module name: (identifier) @name) @module
(function_declaration name: (identifier) @name) @function
(generator_function_declaration name: (identifier) @name) @function
(function_signature name: (identifier) @name) @function
(method_definition name: [(property_identifier) (private_property_identifier)] @name) @function
(method_signature name: (property_identifier) @name) @function
(abstract_method_signature name: (property_identifier) @name) @function
(variable_declarator name: (identifier) @name value: [(arrow_function) (function_expression) (generator_function)]) @function
(variable_declarator name: (identifier) @name value: (class)) @type
(assignment_expression
  left: (member_expression property: (property_identifier) @name)
  right: [(arrow_function) (function_expression)]) @function
(pair key: (property_identifier) @name value: [(arrow_function) (function_expression)]) @function
(public_field_definition name: (property_identifier) @name value: (arrow_function)) @function
(program (lexical_declaration (variable_declarator name: (identifier) @name
  value: [(string) (number) (object) (array) (template_string) (call_expression) (new_expression) (as_expression) (satisfies_expression)]) @constant))
(program (export_statement (lexical_declaration (variable_declarator name: (identifier) @name
  value: [(string) (number) (object) (array) (template_string) (call_expression) (new_expression) (as_expression) (satisfies_expression)]) @constant)))

; References
(type_identifier) @reference
(call_expression function: (identifier) @reference)
(call_expression function: (member_expression property: (property_identifier) @reference))
(new_expression constructor: (identifier) @reference)
(new_expression constructor: (member_expression property: (property_identifier) @reference))
(extends_clause value: (identifier) @reference)
(import_specifier name: (identifier) @reference)
(import_clause (identifier) @reference)
(export_specifier name: (identifier) @reference)
(member_expression object: (identifier) @reference)
(arguments (identifier) @reference)
((identifier) @reference (#match? @reference "^[A-Z][A-Z0-9_]+$"))
